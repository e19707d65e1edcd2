import type { Reporter, TestModule } from 'vitest/node';

/** Lists at the end the tests that were skipped because something is missing, one line for each reason. */
class SkipReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const counts = new Map<string, number>();
    for (const module of modules)
      for (const test of module.children.allTests('skipped')) {
        const result = test.result();
        const note = result.state === 'skipped' ? result.note : undefined;
        if (note !== undefined) counts.set(note, (counts.get(note) ?? 0) + 1);
      }
    for (const [note, count] of counts)
      console.log(`Skipped ${count} test${count === 1 ? '' : 's'}: ${note}`);
  }
}

export const skipReporter = new SkipReporter();
