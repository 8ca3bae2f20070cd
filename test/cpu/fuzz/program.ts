/**
 * Random programs of several functions, which end whatever their data are: control goes forward but for loops, whose
 * signed counters only fall, and calls, which go to later functions and take fuel.
 *
 * Registers are used as in the sequences of test/isa: RBX RSI RDI R12 R13 stay pointers, RBP is the frame, R14 counts
 * innermost loops, R15 is a small index; RAX RCX RDX R8…R11 hold data.
 */
import { ATTR_CPL0, ATTR_END, ATTR_REP, type OpcodeRow } from '../../../cpu/isa/table.ts';
import { CaseBuilder } from '../../isa/builder.ts';
import { instruction, sequencePool } from '../../isa/generate.ts';
import { HIGH } from '../../isa/layout.ts';
import { Rng } from '../../isa/rng.ts';
import { integer, qword } from '../../isa/values.ts';
import { type Assembled, assemble, hex, type Item, le, type Reference, type Table } from './assembler.ts';
import * as at from './layout.ts';

export interface Program {
  readonly seed: number;
  readonly items: readonly Item[];
  readonly tables: readonly Table[];
  readonly data: Uint8Array;
  readonly gpr: BigUint64Array;
  readonly xmm: Uint8Array;
  readonly mxcsr: number;
  /** Calls that it may make. */
  readonly fuel: number;
}

/** Where the program halts. */
export const END_LABEL = 0;

export function build({ items }: Program): Assembled {
  return assemble(items, at.CODE, at.CODE_LENGTH);
}

/** Those that would change the frame or the mode, for which there are pieces of their own. */
const NOT_HERE = new Set(['POPF', 'ENTER', 'LEAVE', 'INT3', 'INT', 'INTO', 'LSS', 'LFS', 'LGS', 'FSAVE', 'XLAT']);
const pool = sequencePool(true).map(
  ([rows, weight], i) =>
    [
      rows.filter(
        ({ mnemonic, attributes, operands }) =>
          !NOT_HERE.has(mnemonic) &&
          !(attributes & (ATTR_CPL0 | ATTR_END)) &&
          !(mnemonic === 'POP' && operands[0]?.mode.endsWith('S')),
      ),
      weight / [1, 1, 3, 4][i],
    ] as const,
);

const JCC = 0x80;
const DATA_MIDDLE = at.DATA + at.DATA_LENGTH / 2;

export function generate(seed: number): Program {
  return new Generator(seed).program();
}

class Generator {
  private readonly seed: number;
  private readonly rng: Rng;
  private readonly builder: CaseBuilder;
  private readonly items: Item[] = [];
  private readonly tables: Table[] = [];
  private tableEnd = at.TABLES;
  private labels = END_LABEL + 1;
  private loops = 0;
  private readonly functions: number[] = [];
  /** The function being written. */
  private current = 0;
  /** In an innermost loop, which R14 counts. */
  private inLoop = false;
  private depth = 0;
  /** Labels of instructions MOV r32, imm32 that stores may patch, and of data among the code. */
  private readonly patchable: number[] = [];
  private readonly gaps: number[] = [];

  constructor(seed: number) {
    this.seed = seed;
    this.rng = new Rng(seed);
    this.builder = new CaseBuilder(this.rng, true, true);
  }

  program(): Program {
    const { rng } = this;
    const count = 1 + rng.below(5);
    for (let i = 0; i < count; i++) this.functions.push(this.label());
    // Patches may go to instructions that are written later.
    for (let i = 0; i < count; i++) this.patchable.push(this.label());
    this.gaps.push(this.label());
    const data = new Uint8Array(at.DATA_LENGTH);
    const words = new DataView(data.buffer);
    const gpr = new BigUint64Array(16).map(() => integer(rng));
    for (let i = 0; i < data.length; i += 8) words.setBigUint64(i, i % 64 ? rng.u64() : qword(rng, 'integer'), true);
    gpr[4] = BigInt(at.STACK + at.STACK_LENGTH - 0x800);
    gpr[14] = 0n;
    gpr[15] = BigInt(rng.below(4) * 16);
    const xmm = new Uint8Array(256);
    for (let i = 0; i < 256; i += 8)
      new DataView(xmm.buffer).setBigUint64(i, qword(rng, rng.pick(['integer', 'float32', 'float64'])), true);
    this.pad();
    this.jump('e8', this.functions[0]);
    this.code('b9', 0);
    this.put({ label: END_LABEL });
    this.code('fa'); // cli
    this.code('6a 02'); // push 2; popfq
    this.code('9d');
    this.code('f4');
    this.code('eb fe');
    for (const [i, label] of this.functions.entries()) {
      this.current = i;
      this.pad();
      this.put({ label });
      this.function();
    }
    this.code('c3');
    this.put({ label: this.gaps[0] });
    this.put({ bytes: Array(64).fill(0xcc) });
    return {
      seed: this.seed,
      items: this.items,
      tables: this.tables,
      data,
      gpr,
      xmm,
      mxcsr: rng.pick([0x1f80, 0x1fa0, 0x1fa0, 0x1fa0]),
      fuel: 20 + rng.below(60),
    };
  }

  // --- putting items --------------------------------------------------------------------------------------------------

  private put(item: Item): void {
    this.items.push(item);
  }

  private label(): number {
    return this.labels++;
  }

  private here(): number {
    const label = this.label();
    this.put({ label });
    return label;
  }

  private code(text: string, ...immediates: number[]): void {
    this.put({ bytes: hex(text, ...immediates) });
  }

  /** An instruction that ends with a reference. */
  private refer(text: string, label: number, kind: Reference['kind'], add = 0): void {
    const bytes = hex(text);
    const size = kind === 'address64' ? 8 : 4;
    this.put({ bytes: [...bytes, ...le(0, size)], references: [{ at: bytes.length, label, kind, add }] });
  }

  private jump(opcode: string, label: number): void {
    this.refer(opcode, label, 'relative');
  }

  private jcc(condition: number, label: number): void {
    this.put({ bytes: [0x0f, JCC | condition, 0, 0, 0, 0], references: [{ at: 2, label, kind: 'relative' }] });
  }

  /** Jumps to near the end of a page, so that some instruction reaches into the next. */
  private pad(): void {
    const { rng } = this;
    if (this.items.length > 0 && !rng.chance(25)) return;
    if (this.items.length > 0 && this.items.filter((item) => 'before' in item).length >= 5) return;
    const label = this.label();
    this.jump('e9', label);
    this.put({ before: 1 + rng.below(60) });
    this.put({ label });
  }

  // --- functions ------------------------------------------------------------------------------------------------------

  /** Sets RSP where the frame says: pushes and pops need not be balanced. */
  private resetStack(): void {
    this.code('48 8d a5', -at.FRAME_BELOW);
  }

  private function(): void {
    const { rng } = this;
    const giveUp = this.label();
    this.code('ff 0c 25', at.FUEL);
    this.jcc(8, giveUp);
    this.code('55'); // push rbp
    this.code('48 81 ec', at.FRAME_BELOW + at.FRAME_ABOVE);
    this.code('48 8d ac 24', at.FRAME_BELOW);
    this.pointers();
    if (this.current === 0) this.loop(5 + rng.below(8));
    else for (let i = 2 + rng.below(4); i > 0; i--) this.piece();
    this.patchableMove(this.patchable[this.current]);
    this.code('48 8d a5', at.FRAME_ABOVE);
    this.code('5d');
    if (rng.chance(20)) {
      // Returns behind the instruction of five bytes that follows each call, if a bit of data is set.
      const plain = this.label();
      this.code('41 f6 c1 01');
      this.jcc(4, plain);
      this.code('48 83 04 24 05');
      this.put({ label: plain });
    }
    this.put({ label: giveUp });
    if (rng.chance(20)) this.code('c2 00 00');
    else this.code('c3');
  }

  private pointers(): void {
    const { rng } = this;
    const middle = () => DATA_MIDDLE + rng.below(0x200) * 16;
    const pointer = () =>
      rng.weighted([
        [middle(), 70],
        [at.DATA + 0x1000 - rng.below(40), 6],
        [at.DEMAND + rng.below(at.DEMAND_PAGES) * at.PAGE + rng.below(2) * 0x100, 8],
        [at.DEMAND - rng.below(40), 4],
        [at.LATE + rng.below(at.LATE_PAGES) * at.PAGE + rng.below(2) * 0x800, 12],
        [at.MMIO + 0x800, 4],
        [at.ALIASES + 3 * at.PAGE + 0x800, 5],
        [at.READ_ONLY + 0x800, 2],
        [0x400, 1],
      ]);
    const set = (register: number, value: number) =>
      this.put({ bytes: [register & 8 ? 0x41 : 0x40, 0xb8 | (register & 7), ...le(value, 4)] });
    set(3, rng.chance(70) ? middle() : pointer());
    set(6, middle());
    set(7, middle());
    set(13, pointer());
    if (rng.chance(70)) set(12, middle());
    else {
      const high = BigInt(HIGH.address + 0x800);
      this.put({
        bytes: [0x49, 0xbc, ...Array.from({ length: 8 }, (_, i) => Number((high >> BigInt(8 * i)) & 0xffn))],
      });
    }
    set(15, rng.below(4) * 16);
    if (rng.chance(80)) this.code('fc');
  }

  /** Random instructions. */
  private some(count: number): void {
    for (let i = 0; i < count; i++) this.random();
  }

  private random(): void {
    const { rng, builder } = this;
    for (;;) {
      const row: OpcodeRow = rng.pick(rng.weighted(pool));
      const encoded = instruction(builder, row);
      if (encoded === undefined) continue;
      if (row.attributes & ATTR_REP) this.put({ bytes: [0xb9, rng.below(12), 0, 0, 0] });
      this.put({ bytes: [...encoded.bytes] });
      return;
    }
  }

  /** MOV of a 32-bit immediate to a data register, with a label. */
  private patchableMove(label: number): void {
    const register = this.rng.pick([0, 1, 2]);
    this.put({ label });
    this.put({ bytes: [0xb8 | register, ...le(this.rng.u32(), 4)] });
  }

  private piece(): void {
    const { rng } = this;
    const kinds: [() => void, number][] = [
      [() => this.some(1 + rng.below(6)), 18],
      [() => this.branch(), 14],
      [() => this.loop(), this.depth < 3 ? 18 : 0],
      [() => this.call(), 10],
      [() => this.jumpTable(), 7],
      [() => this.oddReturn(), 5],
      [() => this.stringOperation(), 5],
      [() => this.patch(), 7],
      [() => this.codePageStore(), 3],
      [() => this.fault(), 6],
      [() => this.port(), 5],
      [() => this.system(), 6],
      [() => this.pad(), 2],
    ];
    rng.weighted(kinds)();
  }

  private branch(): void {
    const { rng } = this;
    const over = this.label();
    if (rng.chance(70))
      this.put({ bytes: [rng.pick([0x38, 0x39, 0x84, 0x85]), 0xc0 | (rng.below(3) << 3) | rng.below(3)] });
    this.jcc(rng.below(16), over);
    if (rng.chance(40)) this.piece();
    else this.some(1 + rng.below(3));
    if (rng.chance(40)) {
      const end = this.label();
      this.jump('e9', end);
      this.put({ label: over });
      this.some(1 + rng.below(3));
      this.put({ label: end });
    } else this.put({ label: over });
  }

  /** @param outer the function's own loop, of so many pieces */
  private loop(pieces?: number): void {
    const { rng, inLoop } = this;
    const count = rng.weighted([
      [1 + rng.below(6), 60],
      [8 + rng.below(30), 40],
    ]);
    this.depth++;
    if (pieces === undefined && (this.depth > 2 || (!inLoop && rng.chance(60)))) {
      // Counted in R14.
      const outer = this.inLoop;
      if (!outer) {
        this.inLoop = true;
        this.put({ bytes: [0x41, 0xbe, ...le(count, 4)] });
        const top = this.here();
        const depth = this.depth;
        this.depth = 3;
        this.loopBody();
        this.depth = depth;
        this.put({ bytes: hex('41 83 ee 01') });
        this.jcc(15, top);
        this.inLoop = outer;
        this.depth--;
        return;
      }
    }
    const counter = at.LOOP_COUNTERS + this.loops++ * 8;
    this.code('c7 04 25', counter, Math.min(count, 8));
    const top = this.here();
    this.loopBody(pieces);
    this.code('83 2c 25', counter);
    (this.items[this.items.length - 1] as { bytes: number[] }).bytes.push(1);
    this.jcc(15, top);
    this.depth--;
  }

  private loopBody(pieces = 1 + this.rng.below(3)): void {
    this.resetStack();
    if (this.rng.chance(30)) this.pointers();
    for (let i = pieces; i > 0; i--) this.piece();
  }

  /** Followed by an instruction of five bytes, which a tampered return skips. */
  private call(): void {
    const { rng } = this;
    const later = this.functions.slice(this.current + 1);
    if (later.length === 0) {
      this.some(2);
      return;
    }
    const target = rng.pick(later);
    this.resetStack();
    const save = this.inLoop;
    if (save) this.code('41 56');
    switch (rng.below(4)) {
      case 0:
        // Seldom by another name of its page.
        this.refer('48 b8', target, 'address64', rng.chance(5) ? at.ALIASES - at.CODE : 0);
        this.code('ff d0');
        break;
      case 1: {
        const table = this.table(Array.from({ length: 4 }, () => rng.pick(later)));
        this.code(rng.chance(50) ? '89 d1' : '44 89 f1'); // mov ecx, edx or r14d
        this.put({ bytes: hex('83 e1 03') });
        this.code('ff 14 cd', table);
        break;
      }
      default:
        this.jump('e8', target);
    }
    this.put({ bytes: [0xb9, ...le(rng.u32(), 4)] });
    if (save) this.code('41 5e');
    if (rng.chance(50)) this.pointers();
  }

  /** Enters labels into a table. @returns its address */
  private table(labels: number[]): number {
    const address = this.tableEnd;
    this.tables.push({ address, labels });
    this.tableEnd += labels.length * 8;
    return address;
  }

  private jumpTable(): void {
    const { rng } = this;
    const size = 1 + rng.below(20);
    const end = this.label();
    const targets = Array.from({ length: size }, () => this.label());
    if (this.tableEnd + 32 * 8 > at.TABLES + at.TABLES_LENGTH) return;
    const entries = Array.from({ length: 32 }, (_, i) => (i < size ? targets[i] : rng.pick(targets)));
    const table = this.table(entries);
    this.code(rng.pick(['89 d1', '44 89 c1', '44 89 f1', '42 8d 0c 32', '44 89 f1'])); // mov/lea ecx of edx, r8d, r14d
    this.put({ bytes: hex('83 e1 1f') });
    if (rng.chance(50)) this.code('ff 24 cd', table);
    else {
      this.code('48 8b 04 cd', table);
      this.code('ff e0');
    }
    for (const target of targets) {
      this.put({ label: target });
      this.some(1 + rng.below(2));
      if (rng.chance(80)) this.jump('e9', end);
    }
    this.put({ label: end });
  }

  /** Returns that are no returns, calls that are none. */
  private oddReturn(): void {
    const { rng } = this;
    const target = this.label();
    this.resetStack();
    switch (rng.below(4)) {
      case 0:
        this.refer('68', target, 'address32'); // push
        this.code('c3');
        break;
      case 1:
        this.refer('48 8d 05', target, 'relative'); // lea rax, [rip + …]
        this.code('50');
        this.code('c3');
        break;
      case 2:
        // A call whose return address is used as data.
        this.jump('e8', target);
        break;
      default: {
        // To where no code is: the handler goes on at RESUME.
        this.refer('48 c7 04 25', target, 'address32');
        const last = this.items.pop() as { bytes: number[]; references: Reference[] };
        const bytes = [...last.bytes.slice(0, 4), ...le(at.RESUME, 4), 0, 0, 0, 0];
        this.put({ bytes, references: [{ ...last.references[0], at: 8 }] });
        const bad = rng.pick([0x123456789abcdef0n, 0x500n, 0x18000000n, 0xffff800000000000n]);
        this.put({
          bytes: [0x48, 0xb8, ...Array.from({ length: 8 }, (_, i) => Number((bad >> BigInt(8 * i)) & 0xffn))],
        });
        this.code(rng.pick(['ff e0', 'ff d0', '50 c3']));
      }
    }
    this.some(1);
    this.put({ label: target });
    this.resetStack();
  }

  private stringOperation(): void {
    const { rng } = this;
    const place = () =>
      rng.weighted([
        [DATA_MIDDLE + rng.below(0x400), 60],
        [at.DATA + 0x2000 - rng.below(300), 15],
        [at.DEMAND - rng.below(600), 10],
        [at.LATE + rng.below(0x3000), 8],
        [at.DEMAND + rng.below(0x6000), 6],
        [at.DATA + at.DATA_LENGTH - rng.below(600), 4],
        [at.ALIASES + 3 * at.PAGE + rng.below(0x1000), 5],
      ]);
    const from = place();
    const to = rng.chance(50) ? from + rng.below(64) - 32 : place();
    if (rng.chance(20)) this.code('fd');
    this.put({ bytes: [0xbe, ...le(from, 4)] });
    this.put({ bytes: [0xbf, ...le(to, 4)] });
    this.put({ bytes: [0xb9, ...le(rng.chance(20) ? rng.below(4) : rng.below(600), 4)] });
    if (rng.chance(50)) this.code('48 c7 c0', rng.pick([0, -1, 0x20202020])); // mov rax
    const prefix = rng.chance(80) ? [0xf3] : [0xf2];
    const size = rng.pick([[], [], [0x48], [0x66]]);
    const opcode = rng.pick([0xa4, 0xa5, 0xa5, 0xaa, 0xab, 0xab, 0xa6, 0xa7, 0xae, 0xaf, 0xac, 0xad]);
    const bytes = size[0] === 0x66 ? [...size, ...prefix, opcode] : [...prefix, ...size, opcode];
    this.put({ bytes });
    this.code('fc');
    this.put({ bytes: [0xbe, ...le(DATA_MIDDLE, 4)] });
    this.put({ bytes: [0xbf, ...le(DATA_MIDDLE + 0x1000, 4)] });
  }

  /** Changes the immediate of an instruction that runs later, or right behind, or has run. */
  private patch(): void {
    const { rng } = this;
    const label = rng.chance(50) ? this.label() : rng.pick(this.patchable);
    const isNew = !this.patchable.includes(label);
    if (isNew) this.patchable.push(label);
    const before = rng.chance(40);
    if (isNew && before) this.patchableMove(label);
    if (isNew && before) this.some(rng.below(3));
    // Sometimes by another name of its page, if it is one of the first.
    const alias = rng.chance(15) ? at.ALIASES - at.CODE : 0;
    switch (rng.below(4)) {
      case 0: // mov [label + 1], edx
        this.refer('89 14 25', label, 'address32', 1 + alias);
        break;
      case 1: // mov byte [label + 2], dl
        this.refer('88 14 25', label, 'address32', 2 + alias);
        break;
      case 2: // inc dword [label + 1]
        this.refer('ff 04 25', label, 'address32', 1 + alias);
        break;
      default: {
        // rep stosb over the immediate
        this.refer('bf', label, 'address32', 1 + alias);
        this.put({ bytes: [0xb9, 1 + rng.below(4), 0, 0, 0] });
        this.code('f3 aa');
        this.put({ bytes: [0xbf, ...le(DATA_MIDDLE, 4)] });
      }
    }
    if (isNew && !before) {
      this.some(rng.below(3));
      this.patchableMove(label);
    }
  }

  /** A store to a page that holds code, but not to code. */
  private codePageStore(): void {
    const { rng } = this;
    if (rng.chance(50)) {
      const over = this.label();
      this.jump('e9', over);
      this.gaps.push(this.here());
      this.put({ bytes: Array(16).fill(0xcc) });
      this.put({ label: over });
    }
    const gap = rng.pick(this.gaps);
    this.refer(rng.pick(['89 04 25', '48 89 14 25', '01 04 25', '0f 11 04 25', '88 0c 25']), gap, 'address32');
  }

  private fault(): void {
    const { rng } = this;
    const over = this.label();
    const conditional = rng.chance(60);
    if (conditional) {
      this.put({ bytes: hex(this.inLoop ? '41 f6 c6 03' : 'f6 c2 01') }); // test r14b, 3 or dl, 1
      this.jcc(rng.pick([4, 5]), over);
    }
    switch (rng.below(9)) {
      case 0:
        this.code(rng.pick(['8b 04 25', '89 04 25', '48 01 04 25', 'ff 04 25', '0f 10 04 25']), 0x200);
        break;
      case 1:
        this.code('31 c9'); // xor ecx, ecx; div ecx
        this.code(rng.pick(['f7 f1', '48 f7 f9', 'f6 f1']));
        break;
      case 2:
        this.code('0f 0b');
        break;
      case 3:
        this.put({ bytes: [0x48, 0xb8, 0xf0, 0xde, 0xbc, 0x9a, 0x78, 0x56, 0x34, 0x12] });
        this.code(rng.pick(['8b 08', '48 89 08', '48 ff 00', '0f 58 00']));
        break;
      case 4:
        this.code(rng.pick(['89 14 25', '01 14 25', '66 0f 7f 04 25']), at.READ_ONLY + rng.below(0x40) * 16);
        break;
      case 5:
        this.code('0f 28 04 25', at.DATA + 4); // not aligned
        break;
      case 6: // across the ends of the window and of what is mapped
        this.code(
          rng.pick(['48 8b 04 25', '48 89 14 25', '48 01 14 25']),
          at.DEMAND + rng.below(8) * at.PAGE - 1 - rng.below(7),
        );
        break;
      case 7:
        this.put({ bytes: [0xcd, rng.pick([at.SOFTWARE_INTERRUPT, 3])] });
        break;
      default:
        // May or may not fault: a division by data.
        this.code(rng.pick(['f7 f1', '48 f7 f1', '41 f7 f8', 'f7 33', '49 f7 f9']));
    }
    this.put({ label: over });
  }

  /** Ports, and device memory. */
  private port(): void {
    const { rng } = this;
    switch (rng.below(5)) {
      case 0:
        this.put({ bytes: [rng.pick([0xe4, 0xe5]), rng.below(256)] });
        break;
      case 1:
        this.put({ bytes: [rng.pick([0xe6, 0xe7]), rng.below(256)] });
        break;
      case 2:
        this.code(rng.pick(['ec', 'ed', '66 ed', 'ee', 'ef', '66 ef']));
        break;
      case 3:
        this.code(
          rng.pick(['8b 04 25', '89 04 25', '01 14 25', '0f b6 04 25', '88 0c 25']),
          at.MMIO + rng.below(64) * 4,
        );
        break;
      default: // interrupts, of which the device may just have asked for one
        this.code(rng.pick(['fa', 'fb', 'fa', 'fb 90', 'fb 89 c8']));
        this.some(1);
        this.code('fb');
    }
  }

  /** Reaches a page, now or a little later. */
  private touch(page: number): void {
    const { rng } = this;
    this.some(rng.below(3));
    for (let i = rng.below(3); i > 0; i--)
      this.code(
        rng.pick(['01 14 25', '48 03 14 25', '44 89 04 25', '0f 11 04 25', '0f 58 04 25']),
        page + rng.below(256) * 16,
      );
  }

  /** INVLPG, often in another block than what stands before it: that may have left its region. */
  private flushPage(page: number): void {
    if (this.rng.chance(60)) this.code('eb 00');
    this.code('0f 01 3c 25', page);
  }

  private system(): void {
    const { rng } = this;
    const page = rng.weighted([
      [at.DEMAND + rng.below(at.DEMAND_PAGES) * at.PAGE, 40],
      [at.LATE + rng.below(at.LATE_PAGES) * at.PAGE, 40],
      [DATA_MIDDLE + rng.below(2) * at.PAGE, 20],
    ]);
    const entry = at.PAGE_TABLE + (page >> 12) * 8;
    switch (rng.below(9)) {
      case 0: // invlpg
        this.code('0f 01 3c 25', rng.pick([page, at.DATA, at.CODE]));
        break;
      case 1: // mov cr3
        this.code('0f 20 d8');
        this.code('0f 22 d8');
        break;
      case 2: // takes a page away
        this.put({ bytes: [...hex('80 24 25', entry), 0xfe] });
        this.flushPage(page);
        this.touch(page);
        break;
      case 7: // makes one read-only, or writable again
        this.put({ bytes: [...hex('80 34 25', entry), 2] });
        this.flushPage(page);
        this.touch(page);
        break;
      case 8: {
        // exchanges two
        const other = at.LATE + rng.below(at.LATE_PAGES) * at.PAGE;
        this.code('48 8b 04 25', entry);
        this.code('48 87 04 25', at.PAGE_TABLE + (other >> 12) * 8); // xchg
        this.code('48 89 04 25', entry);
        this.flushPage(page);
        this.flushPage(other);
        this.touch(rng.pick([page, other]));
        break;
      }
      case 3: {
        // flags: DF, ID, AC, status
        const flags = 0x202 | rng.pick([0, 0x8d5, 0x401, 0x200040, 0x40080]);
        this.code('68', flags);
        this.code('9d');
        break;
      }
      case 4: // ldmxcsr
        this.put({
          bytes: [
            ...hex('c7 04 25', at.LOOP_COUNTERS - 8),
            ...le(rng.pick([0x1f80, 0x1fa0, 0x1fa0, 0x9fc0, 0x7fa0, 0x1f00]), 4),
          ],
        });
        this.code('0f ae 14 25', at.LOOP_COUNTERS - 8);
        break;
      case 5: // single steps
        this.code('9c');
        this.put({ bytes: hex('81 0c 24', 0x100) });
        this.code('9d');
        this.some(1 + rng.below(3));
        this.code('9c');
        this.put({ bytes: hex('81 24 24', ~0x100) });
        this.code('9d');
        break;
      default:
        this.code(rng.pick(['0f a2', '0f 31', '0f 01 f8', '0f 06', '8c d8', '0f 20 c0']));
    }
  }
}
