import { once } from 'node:events';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HostTree } from '../../../devices/9p/host-tree.ts';
import * as m from '../../../devices/9p/messages.ts';
import { type NinepOptions, NinepServer } from '../../../devices/9p/server.ts';
import { Client, directly, type Field, Refused, ROOT_FID, text } from './client.ts';

const built = existsSync(fileURLToPath(new URL('../../../build/Release/tsvmm_net.node', import.meta.url)));
const unbuilt = built ? '' : " NOT RUN: the addon is not built ('node scripts/build-addon.mjs')";
const { errno } = constants;
const O_RDWR = 2;
const O_TRUNC = 0o1000;

let outside: string;
let root: string;
let servers: NinepServer[];

function serve(options: NinepOptions = {}) {
  const server = new NinepServer(new HostTree(root), options);
  servers.push(server);
  return server;
}

function mount(options: NinepOptions = {}) {
  const client = new Client(directly(serve(options)));
  client.attach();
  return client;
}

/** The errno that a call is refused with. */
function refusal(action: () => unknown): number {
  try {
    action();
  } catch (error) {
    if (error instanceof Refused) return error.errno;
    throw error;
  }
  throw new Error('not refused');
}

beforeEach(() => {
  outside = mkdtempSync(join(tmpdir(), 'tsvmm-9p-'));
  root = join(outside, 'root');
  mkdirSync(join(root, 'etc'), { recursive: true });
  writeFileSync(join(outside, 'secret'), 'outside');
  writeFileSync(join(root, 'etc', 'motd'), 'hello from the host\n');
  servers = [];
});
afterEach(() => {
  for (const server of servers) server.close();
  rmSync(outside, { recursive: true });
});

describe.skipIf(unbuilt)(`NinepServer${unbuilt}`, () => {
  it('negotiates the version and the size of messages', () => {
    const client = new Client(directly(serve()));
    client.msize = 1 << 21;
    expect(client.call(m.TVERSION, `4:${1 << 21}`, text('9P2000.L')).readUInt32LE(0)).toBe(1 << 20);
    expect(client.call(m.TVERSION, '4:8192', text('9P2000.u')).toString('latin1', 6)).toBe('unknown');
    expect(refusal(() => client.call(m.TVERSION, '4:100', text('9P2000.L')))).toBe(errno.EMSGSIZE);
    expect(refusal(() => client.call(102, '4:1', text(''), text('')))).toBe(errno.EOPNOTSUPP);
  });

  it('walks as far as there is something', () => {
    const client = mount();
    const motd = client.walk('etc/motd');
    expect(client.getattr(motd).size).toBe(20);
    expect(refusal(() => client.walk('nothing'))).toBe(errno.ENOENT);
    const partial = client.call(m.TWALK, '4:0', '4:99', '2:2', text('etc'), text('nothing'));
    expect(partial.readUInt16LE(0)).toBe(1);
    expect(partial[2]).toBe(0x80);
    expect(refusal(() => client.getattr(99))).toBe(errno.EBADF);
    expect(client.getattr(client.walk('etc/../etc/motd')).qid).toEqual(client.getattr(motd).qid);
    expect(refusal(() => client.call(m.TWALK, '4:0', `4:${motd}`, '2:0'))).toBe(errno.EINVAL);
    expect(refusal(() => client.walk('x', motd))).toBe(errno.ENOTDIR);
    client.clunk(motd);
    expect(refusal(() => client.clunk(motd))).toBe(errno.EBADF);
  });

  it('reads and writes any part of a file', () => {
    const client = mount();
    const fid = client.create('', 'data', { mode: 0o640 });
    const model = Buffer.alloc(20_000);
    let size = 0;
    fc.assert(
      fc.property(fc.nat(15_000), fc.uint8Array({ maxLength: 4000 }), fc.boolean(), (offset, data, write) => {
        if (write) {
          expect(client.write(fid, offset, data)).toBe(data.length);
          model.set(data, offset);
          if (data.length > 0) size = Math.max(size, offset + data.length);
        } else {
          expect(client.read(fid, offset, data.length)).toEqual(
            model.subarray(Math.min(offset, size), Math.min(offset + data.length, size)),
          );
        }
      }),
      { numRuns: 200 },
    );
    expect(readFileSync(join(root, 'data'))).toEqual(model.subarray(0, size));
    expect(lstatSync(join(root, 'data')).mode & 0o7777).toBe(0o640);
    client.call(m.TFSYNC, `4:${fid}`, '4:0');
    client.call(m.TFSYNC, `4:${fid}`, '4:1');
    const readOnly = client.open('data');
    expect(refusal(() => client.write(readOnly, 0, Uint8Array.of(1)))).toBe(errno.EBADF);
    expect(refusal(() => client.read(client.walk('data'), 0, 10))).toBe(errno.EINVAL);
    expect(refusal(() => client.read(fid, 2 ** 60, 10))).toBe(errno.EINVAL);
    expect(refusal(() => client.call(m.TLOPEN, `4:${fid}`, '4:0'))).toBe(errno.EINVAL);
    expect(client.read(fid, 0, 1 << 20).length).toBe(Math.min(size, client.msize - m.READ_HEADER_SIZE));
  });

  it('lists directories in pieces of any size', () => {
    mkdirSync(join(root, 'many'));
    const names = Array.from({ length: 300 }, (_, i) => `file-${i}`.padEnd(1 + (i % 90), 'x'));
    for (const name of names) writeFileSync(join(root, 'many', name), '');
    writeFileSync(Buffer.from(`${root}/many/\xff\xfe`, 'latin1'), '');
    symlinkSync('x', join(root, 'many', 'link'));
    const client = mount();
    const fid = client.open('many');
    for (const count of [200, 1000, 100_000]) {
      const entries = client.entries(fid, count);
      expect(entries.map((entry) => entry.name).sort()).toEqual([...names, '.', '..', 'link', '\xff\xfe'].sort());
      expect(entries.find((entry) => entry.name === 'link')?.type).toBe(10);
      expect(entries.find((entry) => entry.name === '.')?.type).toBe(4);
    }
    expect(refusal(() => client.entries(fid, 20))).toBe(errno.EINVAL);
    expect(refusal(() => client.read(fid, 0, 100))).toBe(errno.EOPNOTSUPP);
    expect(refusal(() => client.entries(client.walk('many'), 200))).toBe(errno.EINVAL);
    expect(client.getattr(client.walk('many/\xff\xfe')).size).toBe(0);
  });

  it('makes and removes directories, links and nodes, with the mode that the guest says', () => {
    const client = mount();
    const id = `4:${process.getgid!()}` as const;
    const mask = process.umask(0o077);
    try {
      client.call(m.TMKDIR, '4:0', text('dir'), `4:${0o1777}`, id);
      expect(lstatSync(join(root, 'dir')).mode & 0o7777).toBe(0o1777);
      client.call(m.TSYMLINK, '4:0', text('link'), text('../../secret'), id);
      expect(readlinkSync(join(root, 'link'))).toBe('../../secret');
      const target = client.call(m.TREADLINK, `4:${client.walk('link')}`);
      expect(target.toString('latin1', 2)).toBe('../../secret');
      client.call(m.TLINK, `4:${client.walk('dir')}`, `4:${client.walk('etc/motd')}`, text('hard'));
      expect(lstatSync(join(root, 'dir', 'hard')).nlink).toBe(2);
      client.call(m.TMKNOD, '4:0', text('fifo'), `4:${0o010666}`, '4:0', '4:0', id);
      expect(lstatSync(join(root, 'fifo')).isFIFO()).toBe(true);
      expect(lstatSync(join(root, 'fifo')).mode & 0o777).toBe(0o666);
      expect(refusal(() => client.open('fifo', O_RDWR))).toBe(errno.ENXIO);
      const device = () => client.call(m.TMKNOD, '4:0', text('null'), `4:${0o020666}`, '4:1', '4:3', id);
      expect(refusal(device)).toBe(errno.EPERM);
    } finally {
      process.umask(mask);
    }
    expect(refusal(() => client.call(m.TMKDIR, '4:0', text('dir'), '4:511', id))).toBe(errno.EEXIST);
    expect(refusal(() => client.call(m.TUNLINKAT, '4:0', text('dir'), '4:0'))).toBe(errno.EISDIR);
    expect(refusal(() => client.call(m.TUNLINKAT, '4:0', text('dir'), '4:512'))).toBe(errno.ENOTEMPTY);
    client.call(m.TUNLINKAT, `4:${client.walk('dir')}`, text('hard'), '4:0');
    client.call(m.TREMOVE, `4:${client.walk('dir')}`);
    client.call(m.TREMOVE, `4:${client.walk('link')}`);
    client.call(m.TREMOVE, `4:${client.walk('fifo')}`);
    expect(readdirSync(root)).toEqual(['etc']);
    expect(readFileSync(join(outside, 'secret'), 'utf8')).toBe('outside');
    expect(refusal(() => client.call(m.TREMOVE, '4:0'))).toBe(errno.EBUSY);
    expect(refusal(() => client.getattr(ROOT_FID))).toBe(errno.EBADF);
  });

  it('makes directories as Unikraft asks for them', () => {
    const client = mount();
    const fid = client.walk('');
    const fields = [text('temp'), `4:${0x80000000 + 0o700}`, '1:17', text('')] as const;
    const reply = client.call(m.TCREATE, `4:${fid}`, ...fields);
    expect([reply.length, reply[0]]).toEqual([17, 0x80]);
    expect(lstatSync(join(root, 'temp')).mode & 0o7777).toBe(0o700);
    expect(
      client
        .entries(fid, 1000)
        .map((entry) => entry.name)
        .sort(),
    ).toEqual(['.', '..']);
    const file = () => client.call(m.TCREATE, '4:0', text('file'), '4:420', '1:17', text(''));
    expect(refusal(file)).toBe(errno.EOPNOTSUPP);
  });

  it('renames; fids go with what they stand for', () => {
    const client = mount();
    const motd = client.walk('etc/motd');
    const open = client.open('etc/motd');
    const etc = client.walk('etc');
    client.call(m.TRENAMEAT, '4:0', text('etc'), '4:0', text('config'));
    expect(client.getattr(motd).size).toBe(20);
    client.call(m.TRENAME, `4:${motd}`, '4:0', text('greeting'));
    expect(readFileSync(join(root, 'greeting'), 'utf8')).toBe('hello from the host\n');
    expect(client.read(open, 0, 5).toString()).toBe('hello');
    expect(client.getattr(client.walk('../greeting', etc)).size).toBe(20);
    expect(refusal(() => client.call(m.TRENAME, '4:0', '4:0', text('x')))).toBe(errno.EBUSY);
    for (const name of ['', 'a/b', '.', '..', 'x\0y']) {
      const rename = () => client.call(m.TRENAMEAT, '4:0', text('greeting'), '4:0', text(name));
      expect([errno.ENOENT, errno.EEXIST]).toContain(refusal(rename));
    }
  });

  it('what is open lives on when its name is gone', () => {
    const client = mount();
    const fid = client.open('etc/motd', O_RDWR);
    client.call(m.TUNLINKAT, `4:${client.walk('etc')}`, text('motd'), '4:0');
    expect(client.getattr(fid)).toMatchObject({ size: 20, nlink: 0 });
    client.setattr(fid, 0x8 | 0x1, { size: 5, mode: 0o600 });
    expect(client.read(fid, 0, 100).toString()).toBe('hello');
  });

  it('sets size, mode, owner and times', () => {
    const client = mount();
    const fid = client.walk('etc/motd');
    const path = join(root, 'etc', 'motd');
    client.setattr(fid, 0x8, { size: 5 });
    expect(readFileSync(path, 'utf8')).toBe('hello');
    client.setattr(fid, 0x1, { mode: 0o100604 });
    expect(lstatSync(path).mode & 0o7777).toBe(0o604);
    client.setattr(fid, 0x10 | 0x80 | 0x20 | 0x100, { times: [1000, 5, -7, 250_000_000] });
    expect(lstatSync(path)).toMatchObject({ atimeMs: 1000_000 + 5e-6, mtimeMs: -6750 });
    const before = Date.now() - 1000;
    client.setattr(fid, 0x10);
    expect(lstatSync(path).atimeMs).toBeGreaterThan(before);
    expect(lstatSync(path).mtimeMs).toBe(-6750);
    if (process.getuid!() === 0) {
      client.setattr(fid, 0x2, { uid: 1234 });
      client.setattr(fid, 0x4, { gid: 4321 });
      expect(lstatSync(path)).toMatchObject({ uid: 1234, gid: 4321 });
    }
    client.setattr(fid, 0x40);
    expect(refusal(() => client.setattr(fid, 0x8, { size: 2 ** 62 }))).toBe(errno.EFBIG);
    expect(refusal(() => client.setattr(client.walk('etc'), 0x8))).toBe(errno.EISDIR);
    expect(client.getattr(fid)).toMatchObject({ valid: 0x7ff, size: 5, mode: 0o100604 });
  });

  it.skipIf(process.getuid!() !== 0)(
    'what is made belongs to the guest’s user, set-id bits and all (root only)',
    () => {
      const client = new Client(directly(serve()));
      client.attach(8192, 1000);
      client.create('', 'theirs', { mode: 0o4755, gid: 2000 });
      const stat = statSync(join(root, 'theirs'));
      expect([stat.uid, stat.gid, stat.mode & 0o7777]).toEqual([1000, 2000, 0o4755]);
    },
  );

  it('tells of the file system, and locks nothing', () => {
    const client = mount();
    const reply = client.call(m.TSTATFS, '4:0');
    expect(reply.length).toBe(60);
    expect(reply.readUInt32LE(4)).toBeGreaterThanOrEqual(512);
    expect(reply.readUInt32LE(56)).toBe(255);
    const fid = `4:${client.open('etc/motd')}` as const;
    expect([...client.call(m.TLOCK, fid, '1:1', '4:0', '8:0', '8:0', '4:7', text('me'))]).toEqual([0]);
    const lock = client.call(m.TGETLOCK, fid, '1:1', '8:3', '8:9', '4:7', text('me'));
    expect([lock[0], lock[1], lock[9], lock[17], lock.toString('latin1', 23)]).toEqual([2, 3, 9, 7, 'me']);
    client.call(m.TFLUSH, '2:1');
    expect(refusal(() => client.call(30, '4:0', '4:50', text('user.x')))).toBe(errno.EOPNOTSUPP);
  });

  it('changes nothing where it is read-only', () => {
    const client = mount({ readonly: true });
    expect(client.read(client.open('etc/motd'), 0, 5).toString()).toBe('hello');
    for (const attempt of [
      () => client.open('etc/motd', O_RDWR),
      () => client.open('etc/motd', O_TRUNC),
      () => client.create('', 'new'),
      () => client.setattr(client.walk('etc/motd'), 0x8),
      () => client.call(m.TUNLINKAT, '4:0', text('etc'), '4:512'),
      () => client.call(m.TREMOVE, `4:${client.walk('etc/motd')}`),
      () => client.call(m.TMKDIR, '4:0', text('d'), '4:511', '4:0'),
    ]) {
      expect(refusal(attempt)).toBe(errno.EROFS);
    }
    expect(readFileSync(join(root, 'etc', 'motd'), 'utf8')).toBe('hello from the host\n');
  });

  it('a new session forgets the old one', () => {
    const client = mount();
    const fid = client.open('etc/motd');
    client.attach();
    expect(refusal(() => client.read(fid, 0, 1))).toBe(errno.EBADF);
  });
});

describe.skipIf(unbuilt)(`NinepServer keeps to its directory${unbuilt}`, () => {
  it('`..` of the root is the root', () => {
    const client = mount();
    const { qid } = client.getattr(ROOT_FID);
    expect(client.getattr(client.walk('..')).qid).toEqual(qid);
    expect(client.getattr(client.walk('etc/../../../..')).qid).toEqual(qid);
    expect(refusal(() => client.walk('../secret'))).toBe(errno.ENOENT);
  });

  it('no symbolic link is followed, in the middle or at the end', () => {
    symlinkSync('../secret', join(root, 'file'));
    symlinkSync('..', join(root, 'up'));
    symlinkSync('etc', join(root, 'within'));
    symlinkSync(outside, join(root, 'absolute'));
    const client = mount();
    expect(client.getattr(client.walk('file')).mode & 0o170000).toBe(0o120000);
    for (const path of ['up/secret', 'within/motd', 'absolute/secret']) {
      expect(refusal(() => client.walk(path))).toBe(errno.ENOENT); // as far as the link itself
      expect([errno.ENOTDIR, errno.ELOOP]).toContain(
        refusal(() => client.walk('secret', client.walk(path.split('/')[0]))),
      );
    }
    expect(refusal(() => client.open('file'))).toBe(errno.ELOOP);
    expect(refusal(() => client.setattr(client.walk('file'), 0x8))).toBe(errno.ELOOP);
    expect(refusal(() => client.setattr(client.walk('file'), 0x1, { mode: 0 }))).toBe(errno.EOPNOTSUPP);
    expect([errno.ENOTDIR, errno.ELOOP]).toContain(refusal(() => client.create('up', 'new')));
    expect(refusal(() => client.create('', 'file'))).toBe(errno.EEXIST);
    if (process.getuid!() === 0) client.setattr(client.walk('file'), 0x2, { uid: 77 });
    expect(lstatSync(join(outside, 'secret')).uid).toBe(process.getuid!());
    expect(readdirSync(outside).sort()).toEqual(['root', 'secret']);
  });

  it('a directory that becomes a symbolic link behind our back is not followed', () => {
    const client = mount();
    const etc = client.walk('etc');
    const motd = client.walk('etc/motd');
    renameSync(join(root, 'etc'), join(outside, 'moved'));
    symlinkSync(outside, join(root, 'etc'));
    writeFileSync(join(outside, 'motd'), 'outside');
    for (const attempt of [
      () => client.call(m.TLOPEN, `4:${motd}`, `4:${O_RDWR}`),
      () => client.getattr(motd),
      () => client.setattr(motd, 0x8),
      () => client.call(m.TMKDIR, `4:${etc}`, text('d'), '4:511', '4:0'),
      () => client.call(m.TUNLINKAT, `4:${etc}`, text('secret'), '4:0'),
      () => client.call(m.TRENAMEAT, `4:${etc}`, text('secret'), '4:0', text('mine')),
      () => client.call(m.TLINK, '4:0', `4:${motd}`, text('mine')),
      () => client.call(m.TLCREATE, `4:${etc}`, text('new'), '4:2', '4:511', '4:0'),
    ]) {
      expect([errno.ENOTDIR, errno.ELOOP]).toContain(refusal(attempt));
    }
    unlinkSync(join(root, 'etc'));
    expect(readdirSync(outside).sort()).toEqual(['motd', 'moved', 'root', 'secret']);
    expect(readFileSync(join(outside, 'motd'), 'utf8')).toBe('outside');
  });

  it('sockets and FIFOs of the host are not opened', async () => {
    const server = createServer().listen(join(root, 'socket'));
    await once(server, 'listening');
    const client = mount();
    expect(refusal(() => client.open('socket', O_RDWR))).toBe(errno.ENXIO);
    server.close();
  });

  it('random requests never throw, never leave the directory', () => {
    const server = serve();
    const exchange = directly(server);
    const number = fc.oneof(fc.nat(6), fc.constantFrom(0xffffffff, 0x80000000, 64, 577, 0o100644), fc.nat());
    const field: fc.Arbitrary<Field> = fc.oneof(
      fc.tuple(fc.constantFrom<1 | 2 | 4 | 8>(1, 2, 4, 4, 4, 8), number).map(([s, n]): Field => `${s}:${n}`),
      fc.constantFrom('etc', 'motd', '..', '.', '', '/', '../secret', 'up', 'new', 'a\0b').map(text),
      fc.uint8Array({ maxLength: 40 }),
    );
    const types = Object.entries(m).flatMap(([name, value]) => (/^T[A-Z]/.test(name) ? [value as number] : []));
    const client = new Client(exchange);
    symlinkSync('..', join(root, 'up'));
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom(...types), fc.array(field, { maxLength: 8 })), { maxLength: 30 }),
        (requests) => {
          client.msize = 8192;
          client.attach();
          client.walk('etc');
          for (const [type, fields] of requests) {
            try {
              client.call(type, ...fields);
            } catch (error) {
              if (!(error instanceof Refused)) throw error;
            }
          }
        },
      ),
      { numRuns: 300 },
    );
    expect(readdirSync(outside).sort()).toEqual(['root', 'secret']);
    expect(readFileSync(join(outside, 'secret'), 'utf8')).toBe('outside');
  });
});
