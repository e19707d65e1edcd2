import { type GatewayListener } from '../kuma/bootstrap-protocol.ts';
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
  /** `KUMA_XDS_DATAPLANE_DEREGISTRATION_DELAY`; the world's own if left out. */
  readonly deregistrationDelayMs?: number;
  /** Control planes of the zone, on one store; one if left out. */
  readonly controlPlanes?: number;
  /** The zone's name if there are several; `z1` if left out. */
  readonly zone?: string;
  /** Where the global control plane listens for zones; a zone of its own if left out. */
  readonly globalPort?: number;
  /** Envoys speak TLS to each other, as they must across zones. */
  readonly mtls?: boolean;
  /** Other zones are reached through the zone's egresses. */
  readonly zoneEgress?: boolean;
  /** KDS is event-based, with this flush interval. */
  readonly kdsFlushMs?: number;
  /** Protocols of services that are in other zones only. */
  readonly protocols?: Readonly<Record<string, Protocol>>;
  /** What MeshGateways say. */
  readonly gateways?: readonly GatewayListener[];
  /** What MeshTimeouts say: by service, after which an upstream connection without a request is closed. */
  readonly idleTimeouts?: Readonly<Record<string, number>>;
}

export type Protocol = 'http' | 'http2' | 'grpc' | 'tcp';

/** What peers call: one service at one application. */
export interface WorldInbound {
  readonly service: string;
  readonly servicePort: number;
  readonly protocol?: Protocol;
  /** Where Envoy listens; any free port if left out. */
  readonly port?: number;
}

/** What the application calls: a loopback port that leads to a service. */
export interface WorldOutbound {
  readonly service: string;
  readonly port: number;
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
  /** In place of the one inbound for {@link service}. */
  readonly inbounds?: readonly WorldInbound[];
  readonly outbounds?: readonly WorldOutbound[];
  /** A gateway has no inbound; `service` is its tag. */
  readonly gateway?: 'DELEGATED' | 'BUILTIN';
  /** Of its listeners; 127.0.0.1 if left out. */
  readonly address?: string;
  /** Which of the zone's control planes it connects to; the first if left out. */
  readonly controlPlane?: number;
  /** A port in front of the control planes, in place of {@link controlPlane}'s own. */
  readonly controlPlanePort?: number;
}

export interface WorldZoneProxy {
  readonly name: string;
  readonly kind: 'ingress' | 'egress';
  readonly port: number;
  /** Where other zones reach an ingress; its own port if left out. */
  readonly advertisedPort?: number;
  /** What it will pass on. */
  readonly services: readonly string[];
  readonly drainTime?: string;
}

/** Two zones of one mesh with mTLS: a service in one is called from the other through a ZoneIngress. */
export interface KumaZones extends AsyncDisposable {
  readonly one: KumaWorld;
  readonly two: KumaWorld;
}

/** Another dataplane of the mesh that calls a service: the view of that service from outside. */
export interface Peer extends AsyncDisposable {
  /** HTTP port that passes requests on to the service, round robin, without retries. */
  readonly port: number;
  /** What its Envoy would balance over now: `127.0.0.1:10001`, sorted. */
  endpoints(): Promise<readonly string[]>;
}

/**
 * One zone of Kuma Universal on loopback with an empty mesh `default`: the emulator or real binaries. The contract
 * suite uses nothing else of either.
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

  /** REST APIs of all control planes, over TLS, and where kuma-dp connects to each. */
  readonly secureRestUrls: readonly string[];
  readonly dataplanePorts: readonly number[];

  /** A control plane, the first if left out: SIGTERM and SIGKILL, and a start on the same ports and objects. */
  start(controlPlane?: number): Promise<void>;
  stop(controlPlane?: number): Promise<void>;
  kill(controlPlane?: number): Promise<void>;
  /** SIGSTOP and SIGCONT. */
  freeze(controlPlane?: number): void;
  thaw(controlPlane?: number): void;

  /** `kuma-dp run …` for this control plane, with a token of its own. Starts nothing. */
  dataplane(dataplane: WorldDataplane): Promise<DataplaneCommand>;
  /** `kuma-dp run --proxy-type …` for this control plane. Starts nothing. */
  zoneProxy(zoneProxy: WorldZoneProxy): Promise<DataplaneCommand>;
  /** Starts a peer that calls `service`. */
  peer(service: string): Promise<Peer>;
}
