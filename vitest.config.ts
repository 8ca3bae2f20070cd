import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/e2e/**'],
          testTimeout: 30_000,
        },
      },
      {
        // Whole machines, one at a time: they measure time, and a guest takes a core.
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          // Containers are a matter of test/e2e/urunc/run.sh.
          exclude: ['test/e2e/urunc/**'],
          fileParallelism: false,
          sequence: { groupOrder: 1 },
          // No test finds what another one translated, but for those that say where (store.test.ts).
          env: { XDG_CACHE_HOME: '/dev/null' },
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
