/** Generates the core as JavaScript: all functions of the core module (wasm/interpreter.ts), printed. Runs at build time. */
import { S_OPS } from '../state.ts';
import { coreModule } from '../wasm/interpreter.ts';
import type { CoreFunction } from './core.ts';
import { declaration, PROLOGUE } from './module.ts';

/**
 * Source of the core: an expression, a function of (buffer, imports, library) that returns the module's exports.
 *
 * Handlers that end in a tail call return the record to go on with, which no exit code can be: `run` is the loop.
 */
export function buildCoreSource(): string {
  const { types, functionImports, functions, elements } = coreModule();
  const imported = functionImports.length;
  const context = {
    types,
    functionTypes: [...functionImports, ...functions].map(({ type }) => type),
    tableEntry: ({ text }: { text: string }) => `table[${text}]`,
    hasTailCalls: true,
  };
  const exported = functions.flatMap(({ exportAs }, i) =>
    exportAs === undefined ? [] : [`${exportAs}:f${imported + i}`],
  );
  return [
    '(function(buffer,imports,library){',
    PROLOGUE,
    `const {${functionImports.map(({ name }, i) => `${name}:f${i}`)}}=imports;`,
    ...functions.map(({ type, body }, i) => declaration(context, `f${imported + i}`, type, body)),
    `const table=[${elements!.map((index) => `f${index}`)}];`,
    `const entries={${exported}};`,
    `function run(op){op=entries.run(op);while(op>=${S_OPS})op=table[u16[op>>1]](op);return op}`,
    'return {...entries,run,table};})',
  ].join('\n');
}

/** The core, generated and compiled at once. */
export function evaluateCore(): CoreFunction {
  return new Function(`return ${buildCoreSource()}`)();
}
