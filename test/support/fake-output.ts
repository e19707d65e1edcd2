import type { LineOutput } from '../../program/line-output.ts';

/** Keeps what was written. */
export class FakeOutput implements LineOutput {
  readonly dropped = 0;
  readonly lines: string[] = [];

  write(line: string): void {
    this.lines.push(line);
  }
}
