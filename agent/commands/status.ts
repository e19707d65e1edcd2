import { systemClock } from '../../kernel/clock.ts';
import { describeError } from '../../kernel/errors.ts';
import { inJson, inLines } from '../../kernel/one-line.ts';
import { printOut } from '../../program/standard-output.ts';
import { askAgent } from '../control/control-socket.io.ts';
import { linuxHost } from '../state/host.io.ts';
import { writeError } from '../child/standard-streams.io.ts';
import { socketPathOf } from '../control/control-protocol.pure.ts';
import type { ChildExit } from '../child/exit-status.pure.ts';
import type { FoundState } from '../state/select-state.pure.ts';
import { judgeStatus, statusLines, type Asked, type DataplaneStatus } from '../control/status-words.pure.ts';
import type { StatusOptions } from '../options.ts';
import { readHostStates, type HostStates } from './host-states.ts';

const ASK_BUDGET_MS = 2_000;

/** Every dataplane of this host that has a state file. Fails if one of them was lost, cannot be read or cannot be asked. */
export async function status({ stateDir, json }: StatusOptions): Promise<ChildExit> {
  let found: HostStates;
  try {
    found = readHostStates(stateDir);
  } catch (error) {
    writeError(describeError(error));
    return { code: 1, signal: null };
  }
  const statuses = await Promise.all(found.states.map(statusOf));
  const text = json
    ? inJson({ schema: 1, dataplanes: statuses })
    : inLines(statuses.map((one) => statusLines(one).join('\n')).join('\n\n'));
  const none = found.unreadable > 0 ? '' : 'no dataplane has run here since this host booted\n';
  printOut(text === '' ? none : `${text}\n`);
  const bad =
    found.unreadable > 0 || statuses.some(({ phase }) => phase === 'lost' || phase === 'unreachable');
  return { code: bad ? 1 : 0, signal: null };
}

async function statusOf({ path, state }: FoundState): Promise<DataplaneStatus> {
  const host = linuxHost();
  const alive = state.bootId === host.bootId && host.isAlive(state.agent);
  return judgeStatus(state, alive ? await ask(path) : { alive, agent: undefined, problem: undefined });
}

async function ask(path: string): Promise<Asked> {
  try {
    const how = { clock: systemClock, budgetMs: ASK_BUDGET_MS };
    const answer = await askAgent(socketPathOf(path), { v: 1, ask: 'status' }, how);
    if (answer.answer === 'status') return { alive: true, agent: answer.status, problem: undefined };
    return { alive: true, agent: undefined, problem: 'its agent is of another version' };
  } catch (error) {
    return { alive: true, agent: undefined, problem: describeError(error) };
  }
}
