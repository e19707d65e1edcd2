import { type DataplaneCommand } from '../world/dataplane-command.ts';
import { type KumaBehaviour } from './behaviour.ts';

/** The control plane's intervals that tests wait for. Milliseconds. */
export interface WorldTiming {
  readonly storeCacheMs: number;
  readonly refreshMs: number;
  readonly deregistrationDelayMs: number;
  readonly healthCheckIntervalMs: number;
  readonly healthReportIntervalMs: number;
}

export interface WorldOptions {
  /** Health Discovery Service; on if left out. */
  readonly healthFeedback?: boolean;
  /** Whether callers on loopback are administrators; they are if left out. */
  readonly localhostIsAdmin?: boolean;
  /** After which a subscription without a living stream is noticed; Kuma's 5 minutes if left out. */
  readonly idleTimeoutMs?: number;
  /** `global`: a control plane to which dataplanes do not belong. */
  readonly mode?: 'zone' | 'global';
  /** Kuma's own intervals, also where the emulator would take shorter ones. */
  readonly defaultTiming?: boolean;
}

export interface WorldDataplane {
  readonly name: string;
  /** Where the application listens. */
  readonly servicePort: number;
  readonly service: string;
  readonly drainTime?: string;
  readonly serviceProbe?: boolean;
  /** `direct`: kuma-dp is given the resource. `pre-applied`: only its name; PUT the resource before. */
  readonly lifecycle?: 'direct' | 'pre-applied';
}

/** Another dataplane of the mesh that calls a service: how everybody else sees that service. */
export interface Peer extends AsyncDisposable {
  /** HTTP port that passes requests on to the service, round robin, without retries. */
  readonly port: number;
  /** What its Envoy would balance over now: `127.0.0.1:10001`, sorted. */
  endpoints(): Promise<readonly string[]>;
}

/**
 * One zone of Kuma Universal on loopback with an empty mesh `default`: the emulator or real binaries. The contract
 * suite knows nothing else of either.
 */
export interface KumaWorld extends AsyncDisposable {
  readonly version: string;
  readonly behaviour: KumaBehaviour;
  readonly timing: WorldTiming;
  /** Whether the store is a database, which real Kuma's leak needs to show. */
  readonly durable: boolean;
  /** REST API in plain text and over TLS, without a slash at the end. */
  readonly restUrl: string;
  readonly secureRestUrl: string;
  /** Verifies {@link secureRestUrl} and kuma-dp's connection. */
  readonly caFile: string;
  /** What a companion beside the control plane shows to agents; `of the control plane`: what the control plane names. */
  readonly companionTls:
    | { readonly certificateFile: string; readonly keyFile: string }
    | 'of the control plane';
  /** A folder for this world's files. Short, since sockets are made in it. */
  join(...names: readonly string[]): string;

  /** The control plane: SIGTERM and SIGKILL, and a start on the same ports and objects. */
  start(): Promise<void>;
  stop(): Promise<void>;
  kill(): Promise<void>;

  /** `kuma-dp run …` for this control plane, with a token of its own. Starts nothing. */
  dataplane(dataplane: WorldDataplane): Promise<DataplaneCommand>;
  /** Starts a peer that calls `service`. */
  peer(service: string): Promise<Peer>;
}
