import { defineConfig, type TestProjectConfiguration } from 'vitest/config';

import { RealRunReporter } from './test/support/kuma-worlds/real-run-reporter.ts';
import { skipReporter } from './test/support/skip-reporter.ts';

/** Where to leave the results for a program to count; nowhere if not set. */
const resultsFile = process.env['TEST_RESULTS'];

const realKuma = process.env['KUMA_CP_BIN'] !== undefined;

const project = (
  name: string,
  limits: {
    readonly timeoutMs: number;
    readonly serial?: true;
    readonly shared?: true;
    /** Run once, before the first file. */
    readonly setup?: string;
    /** After all others: what it compares is decided by how busy the machine is. */
    readonly last?: true;
  },
): TestProjectConfiguration => ({
  extends: true,
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout: limits.timeoutMs,
    hookTimeout: limits.timeoutMs,
    globalSetup: limits.setup ?? [],
    fileParallelism: limits.serial !== true,
    // Real processes on a machine that may be busy with others: twice more before it counts. .ci/run says which, and why.
    retry: limits.shared === true ? 0 : 2,
    // Pure functions and fakes share nothing: one worker for all files, a fifth of the time.
    isolate: limits.shared !== true,
    sequence: { groupOrder: limits.last === true ? 1 : 0 },
  },
});

export default defineConfig({
  test: {
    // Most of what real processes are tested for is waiting: more of them than there are cores.
    maxWorkers: 4,
    // Envoy needs an inotify instance for each file that it watches, of which a user has 128.
    maxConcurrency: 5,
    globalSetup: ['test/support/require-node-24.ts'],
    reporters: [
      'default',
      skipReporter,
      ...(resultsFile === undefined ? [] : ['json']),
      ...(realKuma ? [new RealRunReporter()] : []),
    ],
    ...(resultsFile === undefined ? {} : { outputFile: { json: resultsFile } }),
    projects: [
      project('unit', { timeoutMs: 60_000, shared: true }),
      project('simulation', { timeoutMs: 300_000, shared: true }),
      project('contract', { timeoutMs: 30_000 }),
      project('integration', { timeoutMs: 90_000 }),
      project('faults', { timeoutMs: 90_000 }),
      project('e2e', { timeoutMs: 180_000 }),
      project('comparison', { timeoutMs: 180_000 }),
      project('starts', { timeoutMs: 180_000, last: true }),
      project('supervisors', { timeoutMs: 60_000 }),
      project('page', { timeoutMs: 60_000 }),
      project('package', { timeoutMs: 120_000, setup: 'test/support/packages/build-once.ts' }),
      project('systemd', { timeoutMs: 120_000, setup: 'test/support/systemd/install-once.ts' }),
      // A real control plane takes a core for itself.
      project('kuma', { timeoutMs: 240_000, ...(realKuma ? { serial: true as const } : {}) }),
    ],
  },
});
