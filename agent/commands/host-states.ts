import { writeError } from '../adapters/standard-streams.ts';
import { listStateFiles } from '../adapters/state-directory.ts';
import { readStateFile } from '../adapters/state-file.ts';
import type { FoundState } from '../core/select-state.ts';
import { describeError, OperationalError } from '../../kernel/errors.ts';

/**
 * Every state file of a folder, by name. One that is damaged is named on standard error and left out.
 *
 * @throws `STATE_UNUSABLE` if there is no such folder
 */
export function readHostStates(folder: string): readonly FoundState[] {
  const paths = listStateFiles(folder);
  if (paths === undefined)
    throw new OperationalError('STATE_UNUSABLE', `Cannot read the state directory "${folder}"`);
  return paths.toSorted().flatMap((path) => {
    try {
      const state = readStateFile(path);
      return state === undefined ? [] : [{ path, state }];
    } catch (error) {
      writeError(describeError(error));
      return [];
    }
  });
}
