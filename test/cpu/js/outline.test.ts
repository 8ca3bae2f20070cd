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
  expect(outlined.tails.match(/const f_\d/g)).toHaveLength(4);
  expect(outlined.body).not.toMatch(/l2=\(l2/);
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
