import type { OpenConnections } from '../envoy/envoy-activity.pure.ts';
import type { EnvoyUse } from '../envoy/envoy-use.pure.ts';
import type { ProxyKind } from '../identity/used-proxy.pure.ts';
import type { DeregistrationOutcome } from './phases.pure.ts';

/** Facts about the application behind Envoy. */
export interface ApplicationEvidence {
  /** Whether the application's ports accept a connection now; `unknown` without a port to ask or an answer. */
  readonly ports: 'answer' | 'refuse' | 'unknown';
  /** The application's ports refused at the beginning of the stop: it was stopped before its proxy. */
  readonly refusedAtFirst: boolean;
  /** The application called others within kuma-dp's drain time before the stop, or since. */
  readonly called: boolean;
}

/** The evidence that decides how long Envoy must serve. */
export interface HoldKnowledge {
  readonly nowMs: number;
  readonly stopBeganAtMs: number;
  /** When kuma-dp got its first signal, which makes its readiness fail. */
  readonly toldAtMs: number;
  /** When the peers of a deleted object have been informed; in an orderly stop, when the drain begins. */
  readonly settledAtMs: number;
  readonly drainTimeMs: number;
  readonly proxy: ProxyKind;
  /** `undefined`: Envoy's admin does not answer. */
  readonly envoy: EnvoyUse | undefined;
  readonly application: ApplicationEvidence;
  readonly deregistration: DeregistrationOutcome;
  /** How long Kuma's health checks take to inform the peers; `undefined` if they are off. */
  readonly healthCheckMs: number | undefined;
  /** An operator's drain informed the peers before the stop. */
  readonly peersTold: boolean;
  /** Control planes of the zone that do not answer, by URL. */
  readonly silentControlPlanes: readonly string[];
  /** The service manager restarts the proxy; its application lives on. */
  readonly onlyProxyReplaced: boolean;
  readonly outboundHold: 'auto' | number;
  /** `undefined`: kuma-dp's drain time, if there are such senders. */
  readonly externalDrainMs: number | undefined;
}

export type HoldCause =
  | 'requests'
  | 'external-senders'
  | 'silent-control-plane'
  | 'peers-not-told'
  | 'health-checks'
  | 'application-connections'
  | 'application-alive'
  | 'application-silent'
  | 'envoy-silent'
  | 'quiet';

/** Why Envoy has to keep serving, and its latest end. */
export interface Hold {
  readonly cause: HoldCause;
  readonly untilMs: number;
  /** What the drain waits for, without the time. */
  readonly because: string;
}

/** No request in either direction for this long is the end of a drain. */
const QUIET_MS = 500;
/** An application that has not called for this long counts as ended. */
const APPLICATION_SILENCE_MS = 5_000;
/**
 * A proxy that is only replaced, and of which no control plane informs the peers, is out of service for as long whenever
 * it ends. Once Kuma's own health checks or chance have kept requests away for this long, it may end.
 */
const UNTOLD_SILENCE_MS = 5_000;
/** kuma-dp alone ends its Envoy a moment after its drain time. The agent must not end it earlier. */
const NEVER_EARLIER_MS = 100;
/** For requests that began while settling lasted, if it has used up kuma-dp's drain time. */
const LAST_REQUESTS_MS = 1_000;

/**
 * Who still uses Envoy. Everything is bounded by kuma-dp's drain time from the beginning of the stop, because kuma-dp
 * alone would then end Envoy.
 *
 * @returns `undefined` once Envoy may end
 */
export function holdOf(known: HoldKnowledge): Hold | undefined {
  if (known.nowMs >= latestEndMs(known)) return undefined;
  const { envoy } = known;
  if (envoy === undefined) {
    return { cause: 'envoy-silent', untilMs: latestEndMs(known), because: "Envoy's admin does not answer" };
  }
  return (
    inProgress(known, envoy) ??
    untoldSenders(known, envoy) ??
    applicationHold(known, envoy) ??
    quietYet(known, envoy)
  );
}

/** When Envoy ends in any case: after kuma-dp's drain time, or later if the operator asked for it. */
export function latestEndMs(
  known: Pick<HoldKnowledge, 'stopBeganAtMs' | 'settledAtMs' | 'drainTimeMs' | 'externalDrainMs'>,
): number {
  const { stopBeganAtMs, settledAtMs, drainTimeMs, externalDrainMs = 0 } = known;
  return Math.max(
    stopBeganAtMs + Math.max(drainTimeMs, externalDrainMs) + NEVER_EARLIER_MS,
    settledAtMs + Math.min(drainTimeMs, LAST_REQUESTS_MS),
  );
}

/** Whether there are clients that no control plane informs. They learn of a stop only from failing readiness. */
export function hasExternalSenders({
  proxy,
  externalDrainMs,
}: Pick<HoldKnowledge, 'proxy' | 'externalDrainMs'>): boolean {
  return proxy === 'builtin gateway' || proxy === 'zone ingress' || externalDrainMs !== undefined;
}

/**
 * How long after the readiness failed kuma-dp gets its signal, so that it does not end before such clients are gone.
 */
export function readinessLeadMs({
  drainTimeMs,
  externalDrainMs = 0,
}: Pick<HoldKnowledge, 'drainTimeMs' | 'externalDrainMs'>): number {
  return Math.max(0, externalDrainMs - drainTimeMs);
}

/** Requests in progress hold, in either direction. */
function inProgress(known: HoldKnowledge, envoy: EnvoyUse): Hold | undefined {
  const { inbound, outbound, movedAtMs } = envoy;
  // An application's idle connection is no work, but it proves that the application lives.
  const moving = known.nowMs - movedAtMs < APPLICATION_SILENCE_MS;
  const parts = [
    ...counted(inbound.requests, 'inbound request'),
    ...counted(inbound.connections, 'inbound connection'),
    ...counted(outbound.requests, 'outbound request'),
    ...counted(moving || !hasApplication(known) ? outbound.connections : 0, 'outbound connection'),
  ];
  if (parts.length === 0) return undefined;
  return { cause: 'requests', untilMs: latestEndMs(known), because: `waiting for ${parts.join(' and ')}` };
}

/** Senders that may continue because no control plane has informed them yet, or none will. */
function untoldSenders(known: HoldKnowledge, envoy: EnvoyUse): Hold | undefined {
  const { nowMs, toldAtMs, drainTimeMs, deregistration, healthCheckMs, silentControlPlanes } = known;
  const floors: readonly (Hold | undefined)[] = [
    hasExternalSenders(known)
      ? {
          cause: 'external-senders',
          untilMs: known.stopBeganAtMs + (known.externalDrainMs ?? drainTimeMs),
          because: EXTERNAL_SENDERS[known.proxy],
        }
      : undefined,
    silentControlPlanes.length > 0
      ? {
          cause: 'silent-control-plane',
          untilMs: latestEndMs(known),
          because: `dataplanes of ${silentControlPlanes.join(', ')} do not learn of the stop: it does not answer`,
        }
      : undefined,
    known.peersTold
      ? undefined
      : deregistration === 'gone'
        ? { cause: 'peers-not-told', untilMs: known.settledAtMs, because: 'peers are dropping the endpoint' }
        : deregistration === 'kept' && healthCheckMs !== undefined
          ? {
              cause: 'health-checks',
              untilMs: toldAtMs + Math.min(drainTimeMs, healthCheckMs),
              because: "peers learn of the stop from Kuma's health checks",
            }
          : {
              cause: 'peers-not-told',
              untilMs: untoldEndMs(known, envoy),
              because: 'peers may not know of the stop',
            },
  ];
  return floors
    .filter((hold) => hold !== undefined)
    .filter(({ untilMs }) => nowMs < untilMs)
    .toSorted((a, b) => b.untilMs - a.untilMs)[0];
}

function untoldEndMs(known: HoldKnowledge, { quietSinceMs }: EnvoyUse): number {
  const endMs = latestEndMs(known);
  return known.onlyProxyReplaced ? Math.min(endMs, (quietSinceMs ?? known.nowMs) + UNTOLD_SILENCE_MS) : endMs;
}

export const EXTERNAL_SENDERS: Readonly<Record<ProxyKind, string>> = {
  'builtin gateway': 'clients of a gateway learn of the stop from its readiness alone',
  'zone ingress': 'other zones learn of the stop from readiness, or late',
  sidecar: 'clients outside the mesh learn of the stop from readiness alone',
  'delegated gateway': 'clients outside the mesh learn of the stop from readiness alone',
  'zone egress': 'clients outside the mesh learn of the stop from readiness alone',
};

/** The application may keep calling others while it stops itself. */
function applicationHold(known: HoldKnowledge, envoy: EnvoyUse): Hold | undefined {
  if (!hasApplication(known) || isReplacement(known)) return undefined;
  const untilMs = applicationLimitMs(known);
  const { application, nowMs, stopBeganAtMs } = known;
  const { outbound, lastCallMs } = envoy;
  const { open } = outbound;
  if (open.length > 0) {
    const because = `the application still has ${connectionWords(open)}`;
    return unlessPast({ cause: 'application-connections', untilMs, because }, nowMs);
  }
  if (!application.called && lastCallMs < stopBeganAtMs) return undefined;
  if (application.ports === 'answer') {
    const because = 'the application called others and still listens';
    return unlessPast({ cause: 'application-alive', untilMs, because }, nowMs);
  }
  if (application.refusedAtFirst && lastCallMs < stopBeganAtMs) return undefined;
  const silentMs = Math.max(lastCallMs, stopBeganAtMs) + APPLICATION_SILENCE_MS;
  const because = 'the application called others not long ago';
  return unlessPast({ cause: 'application-silent', untilMs: Math.min(untilMs, silentMs), because }, nowMs);
}

function applicationLimitMs(known: HoldKnowledge): number {
  const { outboundHold, stopBeganAtMs } = known;
  const endMs = latestEndMs(known);
  return outboundHold === 'auto' ? endMs : Math.min(endMs, stopBeganAtMs + outboundHold);
}

function quietYet({ nowMs }: HoldKnowledge, { quietSinceMs }: EnvoyUse): Hold | undefined {
  const untilMs = (quietSinceMs ?? nowMs) + QUIET_MS;
  return nowMs < untilMs
    ? { cause: 'quiet', untilMs, because: 'the last request has only just ended' }
    : undefined;
}

/** Kuma's own gateways and zone proxies have no application behind them. */
function hasApplication({ proxy }: HoldKnowledge): boolean {
  return proxy === 'sidecar' || proxy === 'delegated gateway';
}

function isReplacement({ onlyProxyReplaced, outboundHold }: HoldKnowledge): boolean {
  return onlyProxyReplaced || outboundHold === 0;
}

function unlessPast(hold: Hold, nowMs: number): Hold | undefined {
  return nowMs < hold.untilMs ? hold : undefined;
}

function counted(count: number, what: string): readonly string[] {
  return count === 0 ? [] : [`${count} ${what}${count === 1 ? '' : 's'}`];
}

/** The listeners with the most connections are named. */
function connectionWords(open: readonly OpenConnections[]): string {
  const total = open.reduce((sum, { connections }) => sum + connections, 0);
  const [first, ...others] = open.toSorted((a, b) => b.connections - a.connections);
  const more = others.length === 0 ? '' : ` and ${others.length} more`;
  return `${total} connection${total === 1 ? '' : 's'} to Envoy (${first?.listener ?? 'unknown'}${more})`;
}

/** A hold in words, for log, status, service manager and report. Times of day are this host's. */
export function describeHold(
  { cause, untilMs, because }: Hold,
  now: { readonly monotonicMs: number; readonly wallMs: number },
): string {
  const until = new Date(now.wallMs + untilMs - now.monotonicMs).toTimeString().slice(0, 8);
  switch (cause) {
    case 'requests':
    case 'quiet':
      return because;
    case 'external-senders':
    case 'silent-control-plane':
    case 'peers-not-told':
    case 'health-checks':
      return `${because}: serving until ${until}`;
    case 'application-connections':
    case 'application-alive':
    case 'application-silent':
    case 'envoy-silent':
      return `${because}: waiting until ${until} at the latest`;
  }
}
