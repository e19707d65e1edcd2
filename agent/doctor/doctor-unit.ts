import type { Finding } from '../../kernel/findings.ts';
import { isOnPath } from '../child/find-program.io.ts';
import { processFacts, serviceOf, serviceUserOf } from '../systemd/process-facts.io.ts';
import { systemctl, type Said } from '../systemd/systemctl.io.ts';
import { isCompanion } from '../object/endpoint-url.pure.ts';
import type { HostState } from '../state/host-state.pure.ts';
import {
  applicationsOf,
  readOrderedUnits,
  readUnitSettings,
  type OrderedUnit,
  type UnitSettings,
} from '../systemd/systemd-unit.pure.ts';
import { judgeCare, type HelperProgram } from './unit-care.pure.ts';
import { judgeCrashes } from './unit-crashes.pure.ts';
import { judgeUnit, supervisorOf } from './unit-findings.pure.ts';
import type { RunOptions } from '../options.ts';
import type { DoctorRequest } from './doctor-subject.ts';

/** The unit that runs the dataplane, and the agent in it. */
export interface FoundUnit {
  /** The agent's pid; none with several agents and no unit. */
  readonly agentPid: number | undefined;
  readonly settings: UnitSettings | undefined;
  readonly cat: string;
  /** The services that stop before this unit. */
  readonly orderedAfter: readonly OrderedUnit[];
  /** Why nothing is known of a unit. */
  readonly problem: string;
}

export async function findUnit(
  { options, env }: DoctorRequest,
  states: readonly HostState[],
): Promise<FoundUnit> {
  const [state, ...more] = states;
  const onlyAgent = more.length === 0 ? state?.agent.pid : undefined;
  const name = options.unit ?? (onlyAgent === undefined ? undefined : serviceOf(onlyAgent));
  const unknown = { agentPid: onlyAgent, settings: undefined, cat: '', orderedAfter: [] };
  if (name === undefined) return { ...unknown, problem: describeNoUnit(onlyAgent) };
  const control = systemctl(env, options.unit === undefined ? userOf(onlyAgent) : undefined);
  const [shown, cat] = await Promise.all([control.show(name), control.cat(name)]);
  if ('problem' in shown) return { ...unknown, problem: shown.problem };
  const settings = readUnitSettings(shown.text);
  const applications = applicationsOf(settings);
  const shownToo = applications.length === 0 ? undefined : await control.showOrdered(applications);
  return {
    agentPid: agentIn(settings, onlyAgent),
    settings,
    cat: textOf(cat),
    orderedAfter: shownToo === undefined ? [] : readOrderedUnits(textOf(shownToo)),
    problem: '',
  };
}

function describeNoUnit(agent: number | undefined): string {
  return agent === undefined
    ? 'cannot tell which unit runs the dataplane: name it with --unit'
    : `the agent, pid ${agent}, runs outside any service; if systemd stops it, name the unit with --unit`;
}

function userOf(agent: number | undefined): number | undefined {
  return agent === undefined ? undefined : serviceUserOf(agent);
}

/** The main process may be a supervisor, or a program in front of the agent. */
function agentIn({ id, mainPid }: UnitSettings, agent: number | undefined): number | undefined {
  const isIn = agent !== undefined && serviceOf(agent) === id;
  return isIn ? agent : (mainPid ?? agent);
}

/** The requirements for a unit. */
export interface UnitDemands {
  readonly options: RunOptions;
  /** Where the unit looks for programs. */
  readonly searchPath: string;
  /** Whether an endpoint has to be looked up by name. */
  readonly needsNames: boolean;
}

export function examineUnit(
  { settings, cat, orderedAfter, problem }: FoundUnit,
  { options, searchPath, needsNames }: UnitDemands,
): readonly Finding[] {
  if (settings === undefined) {
    return [{ level: 'unseen', about: 'systemd', says: problem }];
  }
  const { mainPid } = settings;
  const mainArgv = mainPid === undefined ? undefined : processFacts(mainPid).argv;
  const { stopBudgetMs: budgetMs, stateDir, endpoints } = options;
  const judged = judgeUnit({ unit: settings, cat, budgetMs, mainArgv, needsNames });
  if (supervisorOf(mainArgv ?? []) !== undefined) return judged;
  return [
    ...judgeCrashes(settings),
    ...judged,
    ...judgeCare({
      unit: settings,
      cat,
      stateDir,
      companion: endpoints.some(isCompanion),
      orderedAfter,
      missing: new Set(HELPERS.filter((program) => !isOnPath(program, searchPath))),
    }),
  ];
}

const HELPERS: readonly HelperProgram[] = ['sh', 'systemd-notify'];

function textOf(said: Said): string {
  return 'text' in said ? said.text : '';
}
