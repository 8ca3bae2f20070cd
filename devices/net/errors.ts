/** What can go wrong while a network back end is set up: one line that says what, and what to do about it. */

export class NetBackendError extends Error {
  override readonly name = 'NetBackendError';
}

/** The code of a Node system error ('EADDRINUSE'), or its message when it has none. */
export function errorCode(error: unknown): string {
  if (error instanceof Error) return (error as NodeJS.ErrnoException).code ?? error.message;
  return String(error);
}
