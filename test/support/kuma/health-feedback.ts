import { parseDuration } from '../../../kernel/duration.ts';
import { type NodeInfo, keyOf } from './bootstrap-protocol.ts';
import { type Inbound, networkingOf, withReadiness, workloadOf } from './dataplane-model.ts';
import { type PauseGate } from './gate.ts';
import { GRPC_STATUS, type GrpcStream } from './grpc-stream.ts';
import { type Journal } from './journal.ts';
import {
  decodeMessage,
  durationMessage,
  encodeMessage,
  type Field,
  messagesAt,
  stringAt,
} from './protobuf.ts';
import { type ResourceManager } from './resource-manager.ts';
import { type ControlPlaneSettings } from './settings.ts';
import { type KumaStore, type StoredObject } from './store.ts';
import { type Timers } from './timers.ts';

export interface HealthDependencies {
  readonly settings: ControlPlaneSettings;
  readonly store: KumaStore;
  readonly manager: ResourceManager;
  readonly journal: Journal;
  readonly gate: PauseGate;
  readonly timers: Timers;
}

interface HealthCheck {
  readonly cluster: string;
  readonly address: Buffer;
  readonly checker: Field;
  readonly probe?: Inbound['serviceProbe'];
}

/** envoy.config.core.v3.HealthCheck.http_health_check and .tcp_health_check */
const HTTP_READY: Field = [8, encodeMessage([[2, '/ready']])];
const TCP_CONNECT: Field = [9, encodeMessage([])];

const NOT_FOUND_RETRY_MS = 1_000;
const NOT_FOUND_RETRIES = 30;
const CHECK_TIMEOUT_MS = 2_000;
const ADMIN_CLUSTER = 'kuma_envoy_admin';
/** envoy.config.core.v3.HealthStatus */
const UNKNOWN_OR_HEALTHY = new Set([0, 1]);

/**
 * Kuma's use of Envoy's Health Discovery Service: Envoy checks its own `/ready` and the applications that have a
 * service probe, and reports; the control plane sets inbounds to Ready and NotReady accordingly.
 *
 * @see kuma v2.14.3 pkg/hds/tracker/callbacks.go, healthcheck_generator.go
 * @see https://www.envoyproxy.io/docs/envoy/v1.36.4/api-v3/service/health/v3/hds.proto
 */
export class HealthFeedback {
  readonly #dependencies: HealthDependencies;

  constructor(dependencies: HealthDependencies) {
    this.#dependencies = dependencies;
  }

  /** Serves one stream until it ends. */
  async accept(stream: GrpcStream, node: NodeInfo): Promise<void> {
    stream.onMessage((message) => {
      this.#report(stream, node, message).catch(() => {
        stream.destroy();
      });
    });
    const object = await this.#waitForObject(stream, node);
    if (object === undefined) {
      stream.fail(
        GRPC_STATUS.unknown,
        'dataplane not found. Create Dataplane in Kuma CP first or pass it as an argument to kuma-dp',
      );
      return;
    }
    stream.send(this.#specifier(object, node));
  }

  async #waitForObject(stream: GrpcStream, node: NodeInfo): Promise<StoredObject | undefined> {
    const { gate, store, timers } = this.#dependencies;
    for (let tries = 0; tries <= NOT_FOUND_RETRIES && stream.open; tries += 1) {
      await gate.passed();
      const object = store.find(keyOf(node));
      if (object !== undefined || !(await timers.sleep(NOT_FOUND_RETRY_MS))) return object;
    }
    return undefined;
  }

  async #report(stream: GrpcStream, node: NodeInfo, message: Buffer): Promise<void> {
    await this.#dependencies.gate.passed();
    const [response] = messagesAt(decodeMessage(message), 2);
    if (response === undefined) return;
    const object = this.#dependencies.store.find(keyOf(node));
    if (object === undefined) {
      stream.fail(GRPC_STATUS.unknown, 'Resource not found');
      return;
    }
    this.#update(object, readReport(response));
  }

  #update(object: StoredObject, health: ReadonlyMap<string, boolean>): void {
    const envoyHealthy = health.get(ADMIN_CLUSTER) ?? true;
    const inbounds = networkingOf(object.spec).inbound ?? [];
    const updated = inbounds.map((inbound) => {
      const healthy = envoyHealthy && (health.get(workloadCluster(inbound)) ?? true);
      if (healthy && inbound.state === 'NotReady') return withReadiness(inbound, true);
      if (!healthy && inbound.state === undefined) return withReadiness(inbound, false);
      return inbound;
    });
    if (updated.every((inbound, index) => inbound === inbounds[index])) return;
    this.#dependencies.manager.updateInbounds(object, updated);
    const states = updated.map((inbound) => inbound.state ?? 'Ready').join(' ');
    this.#dependencies.journal.record('health-changed', `${object.mesh}/${object.name}`, states);
  }

  /** envoy.service.health.v3.HealthCheckSpecifier */
  #specifier(object: StoredObject, node: NodeInfo): Buffer {
    const { settings } = this.#dependencies;
    const adminAddress =
      'socket' in node.admin
        ? encodeMessage([[2, encodeMessage([[1, node.admin.socket]])]])
        : socketAddress('127.0.0.1', node.admin.port);
    const admin = { cluster: ADMIN_CLUSTER, address: adminAddress, checker: HTTP_READY };
    const checks: Field[] = [[1, this.#check(admin)]];
    for (const inbound of networkingOf(object.spec).inbound ?? []) {
      if (inbound.serviceProbe === undefined) continue;
      const workload = workloadOf(inbound);
      const address = socketAddress(workload.address, workload.port);
      const cluster = workloadCluster(inbound);
      checks.push([1, this.#check({ cluster, address, checker: TCP_CONNECT, probe: inbound.serviceProbe })]);
    }
    return encodeMessage([...checks, [2, durationMessage(settings.healthReportIntervalMs)]]);
  }

  /** envoy.service.health.v3.ClusterHealthCheck */
  #check({ cluster, address, checker, probe = {} }: HealthCheck): Buffer {
    const intervalMs =
      parseDuration(probe.interval ?? '') ?? this.#dependencies.settings.healthCheckIntervalMs;
    const timeoutMs = parseDuration(probe.timeout ?? '') ?? CHECK_TIMEOUT_MS;
    const once = encodeMessage([[1, 1]]);
    const healthCheck = encodeMessage([
      [1, durationMessage(timeoutMs)],
      [2, durationMessage(intervalMs)],
      [4, once],
      [5, once],
      checker,
      [12, durationMessage(intervalMs)],
    ]);
    const endpoints = encodeMessage([[2, encodeMessage([[1, address]])]]);
    return encodeMessage([
      [1, cluster],
      [2, healthCheck],
      [3, endpoints],
    ]);
  }
}

/** envoy.service.health.v3.EndpointHealthResponse, as cluster name to healthy. */
function readReport(response: ReturnType<typeof decodeMessage>): ReadonlyMap<string, boolean> {
  const health = new Map<string, boolean>();
  for (const cluster of messagesAt(response, 2)) {
    const [endpoint] = messagesAt(cluster, 2).flatMap((locality) => messagesAt(locality, 2));
    if (endpoint === undefined) continue;
    const status = endpoint.get(2)?.[0] ?? 0;
    health.set(stringAt(cluster, 1), typeof status === 'number' && UNKNOWN_OR_HEALTHY.has(status));
  }
  return health;
}

function workloadCluster(inbound: Inbound): string {
  return `localhost_${workloadOf(inbound).port}`;
}

/** envoy.config.core.v3.Address */
function socketAddress(address: string, port: number): Buffer {
  const socket = encodeMessage([
    [2, address],
    [3, port],
  ]);
  return encodeMessage([[1, socket]]);
}
