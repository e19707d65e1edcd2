import { existsSync } from 'node:fs';

import { readCommandLine } from '../../program/command-line.ts';
import type { Host } from '../state/host.io.ts';
import { enterFolderOf, processFacts } from '../systemd/process-facts.io.ts';
import { listStateFiles } from '../state/state-directory.io.ts';
import { readStateFile } from '../state/state-file.io.ts';
import type { HostState } from '../state/host-state.pure.ts';
import { resolveRunOptions, RUN_OPTIONS, type DoctorOptions, type RunOptions } from '../options.ts';

type Environment = Readonly<Record<string, string | undefined>>;

export interface DoctorRequest {
  readonly options: DoctorOptions;
  /** What is wrong with the environment, one sentence each. */
  readonly ignored: readonly string[];
  /** The wrapped command; `undefined` if none was given. */
  readonly argv: readonly string[] | undefined;
  readonly env: Environment;
}

/** The run that is examined: the one that the command would be, or the one that is. */
export interface Subject {
  readonly argv: readonly string[];
  readonly env: Environment;
  readonly options: RunOptions;
  /** What is wrong with its environment, one sentence each: the default holds in its place. */
  readonly ignored: readonly string[];
  /** Where this was learnt. */
  readonly from: string;
  /** Whether something of the running agent was not shown to this user. */
  readonly partly: boolean;
}

export interface LivingStates {
  readonly states: readonly HostState[];
  /** Whether there is something that this user may not read, or that cannot be read at all. */
  readonly hidden: boolean;
}

/** What the agents that run on this host now have left in the state folder. */
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
  return { states, hidden };
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
  if (argv !== undefined) return { argv, env, options, ignored, from: 'the command', partly: false };
  if (agentPid === undefined) {
    return {
      problem: agents > 1 ? `${agents} agents run on this host` : 'no agent was found running on this host',
    };
  }
  const { argv: words, env: theirs } = processFacts(agentPid);
  const run = words?.findIndex((word, at) => word === 'run' && at > 0) ?? -1;
  if (words === undefined || run === -1)
    return { problem: `pid ${agentPid} is no agent that this user may look at` };
  const line = readCommandLine(RUN_OPTIONS, words.slice(run + 1));
  const itsEnv = theirs ?? {};
  const { values, problems, ignored: itsIgnored } = resolveRunOptions({ flags: line.flags, env: itsEnv });
  if (line.wrapped === undefined || problems.length > 0)
    return { problem: `pid ${agentPid} is no agent that runs kuma-dp` };
  return {
    argv: line.wrapped,
    env: itsEnv,
    options: values,
    ignored: itsIgnored,
    from: `the running agent, pid ${agentPid}`,
    partly: !enterFolderOf(agentPid) || theirs === undefined,
  };
}
