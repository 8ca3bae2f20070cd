import { defineConfig } from 'vitest/config';

/** Containers by real parts. Not among the projects of `npm test`: it wants Docker, Go and namespaces of its own. */
export default defineConfig({
  test: {
    name: 'urunc',
    root: import.meta.dirname,
    include: ['*.test.ts'],
    globalSetup: './setup.ts',
    // One host, one test at a time.
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
