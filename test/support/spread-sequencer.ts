import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * Takes the files of the projects in turn, the larger ones of each first: those that need a whole core, as everything
 * under load does, do not all run at once.
 */
export class SpreadSequencer extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    // oxlint-disable-next-line unicorn/no-array-sort -- the sequencer's own
    const projects = Map.groupBy(await super.sort(files), ({ project }) => project.name);
    const rounds = Math.max(0, ...[...projects.values()].map(({ length }) => length));
    return Array.from({ length: rounds }, (_, round) =>
      [...projects.values()].flatMap((ofProject) => ofProject.slice(round, round + 1)),
    ).flat();
  }
}
