import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Reporter, type TestModule } from 'vitest/node';

const PAGE = join(import.meta.dirname, '..', '..', '..', 'docs', 'develop', 'real-kuma.md');
/** A run with fewer tests is only a part of the suite, and is not recorded. */
const FULL_RUN = 100;

/** Records when the suite last ran on real binaries, on which ones and with what result. */
export class RealRunReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const states = modules
      .filter(({ project }) => project.name === 'kuma')
      .flatMap((module) => [...module.children.allTests()].map((test) => test.result().state));
    const count = (state: string): number => states.filter((one) => one === state).length;
    const [passed, failed, skipped] = [count('passed'), count('failed'), count('skipped')];
    if (passed + failed < FULL_RUN) return;
    writeFileSync(PAGE, page({ passed, failed, skipped }));
  }
}

function page(counts: {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}): string {
  const date = new Date().toISOString().slice(0, 10);
  const row = [date, versionOf('KUMA_CP_BIN'), versionOf('KUMA_DP_BIN'), ...Object.values(counts)];
  return `# The last run on real Kuma

Written by \`npm run test:kuma\` itself, when it runs on real binaries as [testing.md](testing.md) says. The emulator's
part of the same run is counted as well, unless \`KUMA_TEST_REAL_ONLY=1\`.

| date | kuma-cp | kuma-dp | passed | failed | skipped |
|---|---|---|--:|--:|--:|
| ${row.join(' | ')} |
`;
}

function versionOf(variable: string): string {
  const said = execFileSync(process.env[variable] ?? '', ['version'], { encoding: 'utf8' });
  return /(\d+\.\d+\.\d+\S*)/.exec(said)?.[1] ?? 'unknown';
}
