import { writeError } from '../child/standard-streams.io.ts';
import { whyUnreadable } from '../../program/foreign-files.ts';
import { listStateFiles } from '../state/state-directory.io.ts';
import { readStateFile } from '../state/state-file.io.ts';
import type { FoundState } from '../state/select-state.pure.ts';
import { describeError, OperationalError } from '../../kernel/errors.ts';

export interface HostStates {
  readonly states: readonly FoundState[];
  /** How many files could not be read: damaged, or another user's. */
  readonly unreadable: number;
}

/**
 * Every state file of a folder, by name. One that cannot be read is named on standard error and left out.
 *
 * @throws `STATE_UNUSABLE` if there is no such folder
 */
export function readHostStates(folder: string): HostStates {
  const paths = listStateFiles(folder);
  if (paths === undefined)
    throw new OperationalError(
      'STATE_UNUSABLE',
      `Cannot read the state directory "${folder}": ${whyUnreadable(folder)}`,
    );
  let unreadable = 0;
  const states = paths.toSorted().flatMap((path) => {
    try {
      const state = readStateFile(path);
      return state === undefined ? [] : [{ path, state }];
    } catch (error) {
      writeError(describeError(error));
      unreadable += 1;
      return [];
    }
  });
  return { states, unreadable };
}
