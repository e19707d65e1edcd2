import { systemClock } from '../../kernel/clock.ts';
import { describeError, OperationalError } from '../../kernel/errors.ts';
import { inOneLine } from '../../kernel/one-line.ts';
import { printOut } from '../../program/standard-output.ts';
import { describeKey } from '../../kuma/dataplane.ts';
import { askAgent } from '../control/control-socket.io.ts';
import { linuxHost } from '../state/host.io.ts';
import { writeError } from '../child/standard-streams.io.ts';
import { readStateFile } from '../state/state-file.io.ts';
import { socketPathOf } from '../control/control-protocol.pure.ts';
import { EXIT_CONFIG, type ChildExit } from '../child/exit-status.pure.ts';
import { selectState, type FoundState } from '../state/select-state.pure.ts';
import type { RotateOptions } from '../options.ts';
import { readHostStates } from './host-states.ts';

/** Extra time for the agent's answer about its progress. */
const ANSWER_MARGIN_MS = 5_000;

/** `drain` and `resume`: asks the dataplane's agent and prints one line with the result. */
export async function rotate(ask: 'drain' | 'resume', options: RotateOptions): Promise<ChildExit> {
  const { wait, timeoutMs } = options;
  try {
    const found = find(options);
    if (typeof found === 'string') {
      writeError(found);
      return { code: EXIT_CONFIG, signal: null };
    }
    const answer = await askAgent(
      socketPathOf(found.path),
      { v: 1, ask, wait, timeoutMs },
      { clock: systemClock, budgetMs: timeoutMs + ANSWER_MARGIN_MS },
    );
    const label = describeKey(found.state.dataplane);
    if (answer.answer !== 'rotation')
      throw new OperationalError('CONTROL_UNAVAILABLE', 'Cannot control the agent: it is of another version');
    if (answer.outcome === 'done') {
      printOut(`${inOneLine(`${label}: ${answer.detail}`)}\n`);
      return { code: 0, signal: null };
    }
    writeError(`${label}: ${answer.detail}`);
  } catch (error) {
    writeError(describeError(error));
  }
  return { code: 1, signal: null };
}

function find({ state: path, stateDir, mesh, name }: RotateOptions): FoundState | string {
  const host = linuxHost();
  if (path === undefined) {
    const isAlive = (state: FoundState['state']): boolean =>
      state.bootId === host.bootId && host.isAlive(state.agent);
    return selectState(readHostStates(stateDir).states, { mesh, name }, isAlive);
  }
  const state = readStateFile(path);
  return state === undefined ? `there is no state file "${path}"` : { path, state };
}
