import type { Finding } from '../../kernel/findings.ts';
import { processFacts } from '../adapters/process-facts.ts';
import { systemctl, type Said } from '../adapters/systemctl.ts';
import type { HostState } from '../core/host-state.ts';
import { readUnitSettings, unitOfCgroup, type UnitSettings } from '../core/systemd-unit.ts';
import { judgeUnit } from '../core/unit-findings.ts';
import type { DoctorRequest } from './doctor-subject.ts';

/** The unit that runs the dataplane, and the agent in it. */
export interface FoundUnit {
  /** Of the agent; with several of them and no unit that says which, none. */
  readonly agentPid: number | undefined;
  readonly settings: UnitSettings | undefined;
  readonly cat: string;
  /** Why nothing is known of a unit. */
  readonly problem: string;
}

export async function findUnit(
  { options, env }: DoctorRequest,
  states: readonly HostState[],
): Promise<FoundUnit> {
  const [state, ...more] = states;
  const onlyAgent = more.length === 0 ? state?.agent.pid : undefined;
  const name = options.unit ?? unitOf(onlyAgent);
  const unknown = { agentPid: onlyAgent, settings: undefined, cat: '' };
  if (name === undefined) {
    const problem =
      onlyAgent === undefined
        ? 'it is not known which unit runs the dataplane, if any: --unit NAME'
        : `the agent, pid ${onlyAgent}, runs outside any service; where systemd stops it all the same: --unit NAME`;
    return { ...unknown, problem };
  }
  const control = systemctl(env);
  const [shown, cat] = await Promise.all([control.show(name), control.cat(name)]);
  if ('problem' in shown) return { ...unknown, problem: shown.problem };
  const settings = readUnitSettings(shown.text);
  return { agentPid: settings.mainPid ?? onlyAgent, settings, cat: textOf(cat), problem: '' };
}

/** @param needsNames whether an endpoint has to be looked up by name */
export function examineUnit(
  { settings, cat, problem }: FoundUnit,
  { budgetMs, needsNames }: { readonly budgetMs: number; readonly needsNames: boolean },
): readonly Finding[] {
  if (settings === undefined) {
    return [{ level: 'unseen', about: 'systemd', says: problem }];
  }
  const { mainPid } = settings;
  const mainArgv = mainPid === undefined ? undefined : processFacts(mainPid).argv;
  return judgeUnit({ unit: settings, cat, budgetMs, mainArgv, needsNames });
}

function unitOf(pid: number | undefined): string | undefined {
  const cgroup = pid === undefined ? undefined : processFacts(pid).cgroup;
  return cgroup === undefined ? undefined : unitOfCgroup(cgroup);
}

function textOf(said: Said): string {
  return 'text' in said ? said.text : '';
}
