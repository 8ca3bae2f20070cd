/** Functions whose code behind loops is split off: they compute the same, and nothing behind a loop is left in them. */
import { expect, test } from 'vitest';
import { outline } from '../../../cpu/js/outline.ts';

const VARIABLES = new Set(['l0', 'l1', 'l2']);

function make(statements: readonly string[], { body, tails } = { body: statements.join('\n'), tails: '' }) {
  return new Function(`${tails}return function f(l0){let l1=0,l2=0;\n${body}}`)() as (x: number) => number;
}

const NESTED = [
  'L1:{',
  'L2:{',
  'L3:{',
  'if(l0===7){',
  'break L1;',
  '}',
  'L4:for(;;){',
  'l1=(l1+l0|0);',
  'if(l1>40)break L2;',
  'if(l1===12)break L3;',
  'if(l1<0){',
  'l2=5;',
  'return (l1^l2);',
  '}',
  'if(l1===15)break L1;',
  'if(l1===30)break L4;',
  'continue L4;',
  '}',
  'l2=(l2+100|0);',
  '}',
  'l2=(l2+1|0);',
  'if(l2>100){',
  'break L1;',
  '}',
  'l2=(l2+10|0);',
  '}',
  'l2=(l2+1000|0);',
  '}',
  'return (l1+l2|0);',
];

test('what goes on behind blocks, by jumps and by falling out of them, is the same', () => {
  const outlined = outline('f', NESTED, VARIABLES);
  const split = make(NESTED, outlined);
  const whole = make(NESTED);
  const results = new Set<number>();
  for (let x = -3; x < 50; x++) {
    if (x === 0) continue;
    expect(split(x), `f(${x})`).toBe(whole(x));
    results.add(whole(x));
  }
  expect(results.size).toBeGreaterThan(20);
  expect(outlined.tails.match(/const f_\d/g)).toHaveLength(3);
  expect(outlined.body).not.toContain('1000');
});

test('a function without a loop stays whole', () => {
  const statements = ['L1:{', 'if(l0)break L1;', 'l1=3;', '}', 'return l1;'];
  expect(outline('f', statements, VARIABLES)).toEqual({ body: statements.join('\n'), tails: '' });
});

test('code with a loop stays where it is', () => {
  const statements = [
    'L1:{',
    'if(l0)break L1;',
    'l1=3;',
    '}',
    'L2:for(;;){',
    'if(l1++>5)break L2;',
    'continue L2;',
    '}',
  ];
  const outlined = outline('f', [...statements, 'return l1;'], VARIABLES);
  expect(outlined.body).toContain(statements.join('\n'));
  expect(make([], outlined)(1)).toBe(7);
});

test("no more than three tails run one within the other: they take of the host's stack", () => {
  const levels = 12;
  const statements = [
    ...Array.from({ length: levels }, (_, i) => `L${i + 2}:{`),
    'L1:for(;;){',
    'if(l1++>20)break L1;',
    ...Array.from({ length: levels }, (_, i) => `if(l1===${i}&&l0===${i})break L${i + 2};`),
    'continue L1;',
    '}',
    ...Array.from({ length: levels }, (_, i) => [`l2=(l2*3+${i}|0);`, '}']).flat(),
    'return l2;',
  ];
  const outlined = outline('f', statements, VARIABLES);
  expect(outlined.tails.match(/const f_\d/g)).toHaveLength(3);
  const split = make(statements, outlined);
  const whole = make(statements);
  for (let x = 0; x <= levels; x++) expect(split(x)).toBe(whole(x));
});
