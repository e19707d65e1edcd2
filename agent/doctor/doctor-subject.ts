import { existsSync } from 'node:fs';

import { readCommandLine } from '../../program/command-line.ts';
import { pathSeenBy, wordSeenBy } from '../child/process-view.io.ts';
import type { Host } from '../state/host.io.ts';
import { enterFolderOf, processFacts } from '../systemd/process-facts.io.ts';
import { readersOf } from '../../program/foreign-files.ts';
import { listStateFiles } from '../state/state-directory.io.ts';
import { readStateFile } from '../state/state-file.io.ts';
import type { HostState } from '../state/host-state.pure.ts';
import { resolveRunOptions, RUN_OPTIONS, type DoctorOptions, type RunOptions } from '../options.ts';

type SubjectEnvironment = Readonly<Record<string, string | undefined>>;

export interface DoctorRequest {
  readonly options: DoctorOptions;
  /** Problems of the environment, one sentence each. */
  readonly ignored: readonly string[];
  /** The wrapped command; `undefined` if none was given. */
  readonly argv: readonly string[] | undefined;
  readonly env: SubjectEnvironment;
}

/** The run that the doctor examines: the future run of a given command, or the present one. */
export interface Subject {
  readonly argv: readonly string[];
  readonly env: SubjectEnvironment;
  readonly options: RunOptions;
  /** Problems of its environment, one sentence each: the defaults apply. */
  readonly ignored: readonly string[];
  /** The source of this fact. */
  readonly from: string;
  /** Whether something of the running agent was not shown to this user. */
  readonly partly: boolean;
  /** Where this process finds its state folder. */
  readonly stateDir: string;
}

export interface LivingStates {
  readonly states: readonly HostState[];
  /** Whether there is something that this user may not read, or that cannot be read at all. */
  readonly hidden: boolean;
  /** Who may read it, where this user may not. */
  readonly readers: string | undefined;
}

/** The state files of the agents that run on this host. */
export function livingStates(stateDir: string, host: Host): LivingStates {
  const files = listStateFiles(stateDir);
  const states: HostState[] = [];
  let hidden = files === undefined && existsSync(stateDir);
  for (const path of files ?? []) {
    try {
      const state = readStateFile(path);
      if (state?.bootId === host.bootId && host.isAlive(state.agent)) states.push(state);
    } catch {
      hidden = true;
    }
  }
  return { states, hidden, readers: hidden ? readersOf(stateDir) : undefined };
}

/**
 * @param agentPid the main process of the unit, or the only agent on this host
 * @param agents how many run on this host
 */
export function findSubject(
  { options, ignored, argv, env }: DoctorRequest,
  agentPid: number | undefined,
  agents: number,
): Subject | { readonly problem: string } {
  if (argv !== undefined) {
    return { argv, env, options, ignored, from: 'the command', partly: false, stateDir: options.stateDir };
  }
  if (agentPid === undefined) {
    return {
      problem: agents > 1 ? `${agents} agents run on this host` : 'no agent was found running on this host',
    };
  }
  return (
    runOf(agentPid) ?? {
      problem: `pid ${agentPid} is not an agent of kuma-dp, or this user may not inspect it`,
    }
  );
}

/** The run of an agent, with the files that it names as this process finds them. */
function runOf(pid: number): Subject | undefined {
  const { argv: words, env: theirs } = processFacts(pid);
  const run = words?.findIndex((word, at) => word === 'run' && at > 0) ?? -1;
  if (words === undefined || run === -1) return undefined;
  const args = words.slice(run + 1);
  const env = Object.fromEntries(
    Object.entries(theirs ?? {}).map(([name, value]) => [
      name,
      name.startsWith('KUMA_') ? wordSeenBy(pid, value) : value,
    ]),
  );
  const line = readCommandLine(
    RUN_OPTIONS,
    args.map((word) => wordSeenBy(pid, word)),
  );
  const { values, problems, ignored } = resolveRunOptions({ flags: line.flags, env });
  if (line.wrapped === undefined || problems.length > 0) return undefined;
  // Its unit names the folder as the agent itself does.
  const { stateDir } = resolveRunOptions({
    flags: readCommandLine(RUN_OPTIONS, args).flags,
    env: theirs ?? {},
  }).values;
  return {
    argv: line.wrapped,
    env,
    options: { ...values, stateDir },
    ignored,
    from: `the running agent, pid ${pid}`,
    partly: !enterFolderOf(pid) || theirs === undefined,
    stateDir: pathSeenBy(pid, stateDir),
  };
}
