/**
 * Splits a printed function that loops: what comes after its last loop, at each level of blocks, becomes a function of
 * its own.
 *
 * V8 optimises a loop while it runs, before any of the code behind it has run once. Such code is compiled as a return
 * to the interpreter, and because it stands outside the loop V8 keeps the loop's code as it is, and so returns that way
 * each time. A call of a constant function is compiled in full even if it has never run.
 */

/** A statement, or a compound one. */
interface Item {
  /** The statement, or the head of the compound one. */
  readonly text: string;
  readonly label: string | undefined;
  /** Undefined: a simple statement. */
  readonly items: Item[] | undefined;
  /** What closes it. */
  readonly close: string;
  readonly loops: boolean;
}

interface Tail {
  readonly number: number;
  /** How many tails may run one within the other, from this on. */
  depth: number;
  readonly lines: string[];
  /** Tails that it goes on with. */
  readonly next: Set<Tail>;
  parameters: string[];
}

export interface Outlined {
  readonly body: string;
  /** Declarations of the functions that it calls. */
  readonly tails: string;
}

/** What goes on, by the label of the block whose end it stands behind. */
type Continuations = ReadonlyMap<string, Tail>;

/** More tails are not made one within the other, as each takes of the host's stack; and not more at all, as text costs too. */
const MOST_DEPTH = 3;
const MOST_TAILS = 32;

const LABEL = /^(L\d+):/;
const BREAK = /break (L\d+);/g;
const NAME = /\b[a-z]+\d+(?:_\d+)?\b/g;

/**
 * @param name the function's: tails' names begin with it
 * @param statements the function's; compound ones in lines of their own: head, contents, `}`
 * @param variables names of all its parameters and variables
 */
export function outline(name: string, statements: readonly string[], variables: ReadonlySet<string>): Outlined {
  const items = parse(statements.filter((text) => text !== ''));
  if (!items.some(({ loops }) => loops)) return { body: statements.join('\n'), tails: '' };
  const tails: Tail[] = [];
  const lines: string[] = [];
  split(items, new Map(), undefined, tails, lines);
  findParameters(tails, variables);
  const call = (text: string) => text.replace(/@(\d+)/g, (_, n) => `${name}_${n}(${tails[n].parameters})`);
  return {
    body: call(lines.join('\n')),
    // Those further out come first.
    tails: tails
      .map(({ number, parameters, lines }) => `const ${name}_${number}=(${parameters})=>{${call(lines.join('\n'))}};\n`)
      .join(''),
  };
}

function parse(statements: readonly string[]): Item[] {
  const open: { text: string; items: Item[] }[] = [{ text: '', items: [] }];
  for (const text of statements) {
    const { items } = open[open.length - 1];
    if (text === '}' || text === 'break;}') {
      const { text: head } = open.pop()!;
      const loops = head.includes('for(;;)') || items.some((item) => item.loops);
      open[open.length - 1].items.push({ text: head, label: LABEL.exec(head)?.[1], items, close: text, loops });
    } else if (text.endsWith('{') && !text.startsWith('}')) open.push({ text, items: [] });
    else items.push({ text, label: undefined, items: undefined, close: '', loops: false });
  }
  return open[0].items;
}

/** @param after what goes on at the end of `items` */
function split(items: readonly Item[], outer: Continuations, after: Tail | undefined, tails: Tail[], lines: string[]) {
  const last = items.findLastIndex(({ loops }) => loops);
  const behind = items.slice(last + 1);
  let tail = after;
  if (behind.length > 0) {
    tail = { number: tails.length, depth: 1, lines: [], next: new Set(), parameters: [] };
    for (const item of behind) print(item, tail.lines);
    const end = behind[behind.length - 1].text;
    if (after !== undefined && !/^(return|break)\b/.test(end)) tail.lines.push(goOn(tail, after));
    tail.lines.forEach((line, i) => {
      tail!.lines[i] = line.replace(BREAK, (text, label) => {
        const target = outer.get(label);
        return target === undefined ? text : goOn(tail!, target);
      });
    });
    if (tail.depth > MOST_DEPTH || tail.number >= MOST_TAILS) {
      // All of this stays as it is.
      for (const item of items) print(item, lines);
      return;
    }
    tails.push(tail);
  }
  for (const item of items.slice(0, last)) print(item, lines);
  const item = items[last];
  if (isBlock(item)) {
    lines.push(item.text);
    split(item.items!, tail === undefined ? outer : new Map([...outer, [item.label!, tail]]), tail, tails, lines);
    lines.push(item.close);
  } else print(item, lines);
  if (behind.length > 0) lines.push(`return @${tail!.number};`);
}

function isBlock({ text, label }: Item): boolean {
  return text === `${label}:{`;
}

function goOn(tail: Tail, next: Tail): string {
  tail.next.add(next);
  tail.depth = Math.max(tail.depth, next.depth + 1);
  return `return @${next.number};`;
}

function print({ text, items, close }: Item, lines: string[]): void {
  lines.push(text);
  if (items === undefined) return;
  for (const item of items) print(item, lines);
  lines.push(close);
}

/** The variables that it and those that it goes on with name: none is of use to the function itself any more. */
function findParameters(tails: readonly Tail[], variables: ReadonlySet<string>): void {
  // Whatever a tail goes on with stands further out, and so before it.
  for (const tail of tails) {
    const names = new Set(
      tail.lines
        .join('\n')
        .match(NAME)
        ?.filter((text) => variables.has(text)),
    );
    for (const { parameters } of tail.next) for (const text of parameters) names.add(text);
    tail.parameters = [...names];
  }
}
