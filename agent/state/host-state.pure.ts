import * as z from 'zod/mini';

import { PROXY_TYPES } from '../../kuma/dataplane.ts';
import { RotationRecord } from '../object/rotation-record.pure.ts';

const ProcessRef = z.object({
  pid: z.number(),
  /** Field 22 of /proc/PID/stat: distinguishes a process from a later one with the same pid. */
  startTicks: z.number(),
});
export type ProcessRef = z.infer<typeof ProcessRef>;

/** Each name must fit on one line. */
const OneLine = z.string().check(z.regex(/^\P{Cc}*$/u));

/** The state file of a run. With it another process can finish the run's stop. */
export const HostState = z.object({
  schema: z.literal(1),
  incarnation: z.string(),
  dataplane: z.object({ proxyType: z.enum(PROXY_TYPES), mesh: OneLine, name: OneLine }),
  owner: z.enum(['agent', 'cp', 'external']),
  /** Whether the object may be deleted at all: an external one only with --delete-external. */
  mayDelete: z.boolean(),
  address: z.optional(z.string()),
  endpoints: z.array(z.string()),
  /** PEM, in files of 0.1.0 and of runs whose CA is given as text. */
  ca: z.optional(z.string()),
  /** The current path: the file may be replaced after this run. */
  caFile: z.optional(z.string()),
  skipVerify: z.boolean(),
  clientCertificateFile: z.optional(z.string()),
  clientKeyFile: z.optional(z.string()),
  userTokenFile: z.optional(z.string()),
  /** For a companion. The path only, never the token. */
  dataplaneTokenFile: z.optional(z.string()),
  bootId: z.string(),
  agent: ProcessRef,
  kumaDp: z.optional(ProcessRef),
  phase: z.enum(['running', 'leaving', 'ended']),
  deregistered: z.boolean(),
  endedAtUptimeMs: z.optional(z.number()),
  /** The control plane's facts, learnt by this run or an earlier one of this boot. */
  deregistrationDelayMs: z.optional(z.number()),
  controlPlaneVersion: z.optional(z.string()),
  /** The control plane that this run knew last. Another one knows nothing of this run. */
  controlPlaneInstance: z.optional(z.string()),
  /**
   * The control plane gave Envoy its configuration, so it may still know this run's name. Absent in files of 0.1.0,
   * which did not record it.
   */
  connected: z.optional(z.boolean()),
  /** systemd's name for this run of its service: `INVOCATION_ID`, see systemd.exec(5). */
  invocation: z.optional(z.string()),
  /** Absent while in rotation. The next run of this boot continues it. */
  rotation: z.optional(RotationRecord),
  /** Of this run, or the previous one. */
  lastStop: z.optional(
    z.object({
      stoppedAt: z.string(),
      cause: z.string(),
      totalMs: z.number(),
      outcome: z.string(),
      exit: z.string(),
    }),
  ),
});
export type HostState = z.infer<typeof HostState>;

/** Facts about this host, with which a state file is compared. */
export interface HostEvidence {
  readonly bootId: string;
  isAlive(process: ProcessRef): boolean;
  /**
   * Whether it belongs to the systemd service whose ExecStopPost this is: systemd kills it as soon as this process has
   * ended.
   */
  endsWithUs(process: ProcessRef): boolean;
}

export type Takeover =
  | {
      readonly verdict: 'deregister';
      /** `ending`: it may still be connected, so its control plane cannot say that it has gone. */
      readonly kumaDp: 'gone' | 'ending';
    }
  | { readonly verdict: 'done'; readonly reason: string }
  | { readonly verdict: 'refuse'; readonly reason: string };

/** Whether the work in `state` is still to be done, and another process than its agent may do it. */
export function judgeTakeover(state: HostState, host: HostEvidence): Takeover {
  if (!state.mayDelete)
    return { verdict: 'done', reason: 'the dataplane was applied by an operator and stays' };
  if (state.deregistered && state.phase === 'ended')
    return { verdict: 'done', reason: 'it was deregistered already' };
  if (state.bootId !== host.bootId) {
    return {
      verdict: 'refuse',
      reason: 'the file is from before this host booted',
    };
  }
  if (host.isAlive(state.agent)) {
    return {
      verdict: 'refuse',
      reason: `its agent still runs (pid ${state.agent.pid}) and will deregister it`,
    };
  }
  if (state.kumaDp === undefined || !host.isAlive(state.kumaDp))
    return { verdict: 'deregister', kumaDp: 'gone' };
  return host.endsWithUs(state.kumaDp)
    ? { verdict: 'deregister', kumaDp: 'ending' }
    : { verdict: 'refuse', reason: `its kuma-dp still runs (pid ${state.kumaDp.pid})` };
}

/**
 * The runs of a folder that belong to a service that systemd has just ended. The others belong to services of their
 * own, which finish them at their own end: a restart of this one must not wait for them. Version 0.1.0 did not record
 * the service of a run.
 *
 * @param invocation systemd's name for this run of the service; `undefined` before systemd 232
 */
export function selectOwnRuns<Found extends { readonly state: HostState }>(
  found: readonly Found[],
  invocation: string | undefined,
): readonly Found[] {
  if (invocation === undefined) return found;
  return found.filter(({ state }) => state.invocation === undefined || state.invocation === invocation);
}

/** The file of one dataplane below `--state-dir`. Kuma 2.7 allowed names that are not valid file names. */
export function stateFileName(key: {
  readonly proxyType: string;
  readonly mesh: string;
  readonly name: string;
}): string {
  return `${[key.proxyType, key.mesh, key.name].map((part) => encodeURIComponent(part)).join('~')}.json`;
}
