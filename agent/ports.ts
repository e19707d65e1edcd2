import type { DeadlineScope } from '../kernel/deadline.ts';
import type { LookFinding } from '../kernel/tcp-findings.ts';
import type { Look } from '../kernel/tcp-look.ts';
import type { ControlPlaneFacts } from '../kuma/control-plane.ts';
import type { DataplaneKey, DataplaneResource } from '../kuma/dataplane.ts';
import type { Made, Want } from '../kuma/object-wish.ts';
import type { ChildExit, SignalName } from './child/exit-status.pure.ts';
import type { Owner } from './identity/owner.pure.ts';
import type { ApplicationPort } from './identity/used-proxy.pure.ts';
import type { Phase } from './stop/phases.pure.ts';
import type { OwnDataplane, RunStage } from '../kuma/ownership.ts';

/** The process of the wrapped command. */
export interface Child {
  readonly pid: number;
  /** Does nothing if the process has ended. */
  signal(signal: SignalName): void;
}

export interface SpawnRequest {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The bytes for its standard input; `undefined` passes the agent's own on. */
  readonly stdin: Promise<Uint8Array> | undefined;
  /** Beside the standard ones, to be passed on under the same numbers. */
  readonly descriptors: readonly number[];
}

export type Spawned =
  | {
      readonly child: Child;
      readonly exited: Promise<ChildExit>;
      /** Settles with the first process that could not be signalled, because it runs as another user. */
      readonly denied?: Promise<number>;
      /** Looks whether a signal would be refused, so that `denied` settles before a stop. */
      readonly checkReach?: () => void;
      /** Settles with a kuma-dp that the command has put into the background; the agent waits for its end. */
      readonly detached?: Promise<number>;
    }
  | {
      readonly problem: string;
      readonly exitCode: number;
      /** The program is there, but the kernel creates no process for it. */
      readonly noProcess?: true;
    };

/** The departing dataplane, and this run's marks on it. */
export interface Departure {
  readonly key: DataplaneKey;
  readonly own: OwnDataplane;
}

export type Confirmation =
  | { readonly verdict: 'gone' }
  | { readonly verdict: 'deleted' }
  | { readonly verdict: 'wait' | 'leave'; readonly reason: string };

/** One attempt at an endpoint. */
export interface EndpointAttempt {
  /** Aborts when nothing waits for this attempt any more. Reads end with it. */
  readonly signal: AbortSignal;
  /** How long an endpoint may take before it reports its progress. */
  readonly budgetMs: number;
  /**
   * Call it right before a write. A write cannot be called back, so its answer is awaited even after `signal` has
   * aborted.
   *
   * @returns the signal that ends the wait for the answer
   * @throws the reason of `signal` if that has aborted; then send nothing
   */
  send(): AbortSignal;
}

/**
 * An endpoint: Kuma's REST API, or a companion. Each call is one attempt and throws `OperationalError`; the caller is
 * responsible for order, hedging and retries.
 */
export interface Endpoint {
  /** Without credentials. */
  readonly url: string;
  /** Whether it records a departure before it acts, so that nothing is lost if the caller hangs up. */
  readonly remembers?: true;
  /**
   * Connects if necessary and checks that a control plane answers. It checks that the endpoint accepts the dataplane
   * token for this dataplane, if it wants one, and learns what a departure depends on. The object itself does not
   * matter.
   */
  check(key: DataplaneKey, signal: AbortSignal): Promise<ControlPlaneFacts>;
  /**
   * Reads the object and changes it as wished, if it is ours.
   *
   * @throws `DATAPLANE_FOREIGN` if it is another run's; for `absent` `ENDPOINT_BUSY` with the detail `handedOver` if it
   *   is not gone yet, but the endpoint has recorded the departure
   */
  make(departure: Departure, want: Want, attempt: EndpointAttempt): Promise<Made>;
  /** Whether no other ready dataplane of the zone has one of these services. */
  isLastOfService?(key: DataplaneKey, services: readonly string[], signal: AbortSignal): Promise<boolean>;
  /** The URLs of the zone's control planes that do not answer now. An endpoint that knows them looks at once. */
  silentControlPlanes?(key: DataplaneKey, signal: AbortSignal): Promise<readonly string[]>;
  /** Looks for an object that was created again, and deletes it if no living run can own it. */
  confirm(departure: Departure, stage: RunStage, signal: AbortSignal): Promise<Confirmation>;
  close(): void;
}

/** The status that an attached agent reports to a companion. */
export interface AgentStatus {
  readonly phase: Phase['name'];
  /** Whether Envoy serves and is meant to go on. */
  readonly serving: boolean;
}

/** What an agent sends when it attaches. */
export interface Hello {
  readonly departure: Departure;
  readonly owner: Owner;
  /** Whether a stop deletes the object. If not, the companion must not delete it on the agent's behalf either. */
  readonly deletable: boolean;
  readonly resource: DataplaneResource | undefined;
  readonly status: AgentStatus;
  /** This incarnation's last epoch; `undefined` if it has none. */
  readonly epoch: number | undefined;
}

export interface Attached {
  /** The fencing number of this incarnation; `undefined` while the companion's store is out of reach. */
  readonly epoch: number | undefined;
  /** Why another incarnation keeps the name for now; left out if none does. */
  readonly held?: string;
  readonly facts: ControlPlaneFacts;
  /**
   * Whether the agent can tell the companion of another owner on this stream. A companion of 0.1.0 does not understand
   * that.
   */
  readonly takesOwner?: boolean;
  /** Whether the companion reports changes of its control plane on this stream. A companion of 0.1.0 does not. */
  readonly sendsNews?: boolean;
}

/** Why a stream ended: the companion redirected the agent, or the connection was cut. */
export type StreamEnd =
  | { readonly kind: 'redirected'; readonly reason: string }
  | { readonly kind: 'lost'; readonly error: unknown };

/** The agent's last message to a companion. */
export interface LastWords {
  /** The stop report as JSON. */
  readonly report: string;
  /** The object is to stay, on purpose (`--on-crash keep`): the companion must not delete it either. */
  readonly keep: boolean;
}

/** The open stream to a companion. While it is open, the companion takes the dataplane for alive. */
export interface AttachStream {
  /** Never rejects. */
  readonly ended: Promise<StreamEnd>;
  /** @param owner of the object, if it is another one than in the hello */
  tell(status: AgentStatus, owner?: Owner): void;
  /** Sends the agent's last message; settles when the companion has received it. Never rejects. */
  finish(words: LastWords): Promise<void>;
  close(): void;
}

export type AttachWait = Pick<DeadlineScope, 'signal' | 'extend'>;

/** What a companion says on the stream. */
export interface AttachListener {
  /** The state of this incarnation: first before the attach settles, and again after a change. */
  attached(said: Attached): void;
  /** A change of its control plane. */
  news(facts: ControlPlaneFacts): void;
  /** The companion asked for a sign of life, and got one. */
  answered(): void;
}

/** The companion of a control plane: an endpoint that also watches over attached agents. */
export interface Companion extends Endpoint {
  /**
   * Opens the stream and waits until it is attached. `wait` limits that, not the stream; a busy companion says how much
   * longer it takes.
   *
   * @throws `DATAPLANE_FOREIGN` if a newer incarnation has the name
   */
  attach(hello: Hello, listener: AttachListener, wait: AttachWait): Promise<AttachStream>;
}

/** A look that a companion asks for. */
export interface LookRequest extends Look {
  readonly timeoutMs: number;
}

/** Looks at other dataplanes as a peer would connect to them. */
export interface Witness {
  /** One finding for each target, in their order. Never rejects. */
  look(request: LookRequest): Promise<readonly LookFinding[]>;
}

/** The Envoy that kuma-dp started, through its admin interface. Each call has a short time limit of its own. */
export interface EnvoyAdmin {
  /** Text form of `/stats`, filtered, without counters that never counted anything. */
  stats(filter: string): Promise<string>;
  /** JSON of `/listeners?format=json`. */
  listeners(): Promise<unknown>;
  /** JSON of `/config_dump?resource=dynamic_listeners`. */
  listenerConfig(): Promise<unknown>;
  /**
   * `fail`: Envoy reports itself unhealthy, closes its HTTP connections one by one and keeps serving. `ok` undoes it.
   *
   * @see https://www.envoyproxy.io/docs/envoy/v1.36.4/operations/admin#post--healthcheck-fail
   */
  healthcheck(say: 'fail' | 'ok'): Promise<void>;
  close(): void;
}

/** Signs on this host of the application behind Envoy, and of the reason for the stop. Nothing here throws. */
export interface StopEvidence {
  /**
   * Whether the application listens. `answer`: one of its ports answers. `refuse`: none answers and one refuses.
   * `unknown`: there is no port to ask, or no answer within 200 ms.
   */
  probe(ports: readonly ApplicationPort[]): Promise<'answer' | 'refuse' | 'unknown'>;
  /** Whether the service manager restarts this unit; `false` where it does not say so within 200 ms. */
  isRestart(): Promise<boolean>;
  /** The agent's own connections to these ports of this host, redirected ones included, by their addresses. */
  ownConnections(ports: ReadonlySet<number>): ReadonlySet<string>;
}

/** `absent`: kuma-dp has not started one. `hidden`: there is one, or may be, but its admin cannot be reached. */
export type EnvoyLookup = 'absent' | HiddenEnvoy | { readonly admin: EnvoyAdmin };

export interface HiddenEnvoy {
  /** Why it cannot be asked. */
  readonly hidden: string;
  /** An Envoy that is still starting looks the same: its files are half written, or not there yet. */
  readonly mayPass?: boolean;
}

export interface EnvoyFinder {
  find(kumaDpPid: number): Promise<EnvoyLookup>;
}

/** kuma-dp's own readiness reporter. */
export interface KumaDpReadiness {
  /**
   * Whether kuma-dp has had its first signal, from the agent or from another process. `false` if that cannot be found
   * out.
   */
  isTerminating(): Promise<boolean>;
}

/** A credential that may be rotated while the agent runs, kept in memory so that a stop reads no file. */
export interface Token {
  readonly current: string | undefined;
  /** @throws if the file cannot be read */
  refresh(): Promise<void>;
}
