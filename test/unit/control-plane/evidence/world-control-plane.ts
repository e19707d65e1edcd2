import { INCARNATION_LABEL } from '../../../../kuma/dataplane.ts';
import type { DataplaneOverview } from '../../../../kuma/overview.ts';

interface Stream {
  readonly id: string;
  readonly controlPlaneInstanceId: string;
  readonly connectTime: string;
  disconnectTime?: string;
}

/** Who put it: `brings` if the control plane did, for the kuma-dp that brought it. */
export interface Writer {
  readonly id: string;
  readonly brings: boolean;
}

interface StoredObject {
  /** The truth, which Kuma does not know. */
  writer: string;
  readonly createdMs: number;
  writtenMs: number;
  label: string | undefined;
  brought: boolean;
  ready: boolean;
  streams: Stream[];
}

/** How long Kuma waits after a closed stream before it deletes; it refuses the name meanwhile. */
const DEREGISTRATION_DELAY_MS = 10_000;
/** From the written object to the recorded stream. */
const REGISTER_MS = 1_000;
/** Until a stream that is open is recorded again at an object that was put back under it. */
const RECORD_AGAIN_MS = 20_000;
/** Until a ghost is declared ended: 5 to 10 min. */
const FINALIZER_MS = 300_000;

function rfc3339(ms: number): string {
  return new Date(ms).toISOString();
}

/** One zone control plane with its store: as much of it as decides about departures. Times are ms, its own clock. */
export class WorldControlPlane {
  instance: string | undefined;
  /** All that there were, the last one included. */
  readonly instances: string[] = [];
  upSinceMs = 0;
  readonly objects = new Map<string, StoredObject>();
  /** Streams open now: by name, the instance-local id and when its insight is due. */
  readonly #open = new Map<string, { readonly id: string; readonly sinceMs: number; recorded: boolean }>();
  readonly #deregistering = new Map<string, { readonly dueMs: number; readonly instance: string }>();
  #count = 0;

  start(nowMs: number): void {
    if (this.instance !== undefined) return;
    this.#count += 1;
    this.instance = `cp-${this.#count}`;
    this.instances.push(this.instance);
    this.upSinceMs = nowMs;
  }

  /** A crash leaves ghosts; a graceful stop writes down that the streams ended. Neither deletes. */
  stop(nowMs: number, graceful: boolean): void {
    if (graceful) for (const name of this.#open.keys()) this.#endStream(name, nowMs);
    this.#open.clear();
    this.#deregistering.clear();
    this.instance = undefined;
  }

  isConnected(name: string): boolean {
    return this.#open.has(name);
  }

  /** @returns whether it was accepted */
  connect(name: string, writer: Writer, nowMs: number): boolean {
    if (this.instance === undefined || this.#deregistering.has(name) || this.#open.has(name)) return false;
    if (writer.brings) this.put(name, writer, nowMs);
    if (!this.objects.has(name)) return false;
    this.#count += 1;
    this.#open.set(name, { id: `s-${this.#count}`, sinceMs: nowMs, recorded: false });
    return true;
  }

  /** The control plane sees the stream close. */
  disconnect(name: string, nowMs: number): void {
    if (!this.#open.has(name) || this.instance === undefined) return;
    this.#endStream(name, nowMs);
    this.#open.delete(name);
    if (this.objects.get(name)?.brought === true) {
      this.#deregistering.set(name, { dueMs: nowMs + DEREGISTRATION_DELAY_MS, instance: this.instance });
    }
  }

  put(name: string, { id, brings }: Writer, nowMs: number): void {
    const known = this.objects.get(name);
    const written = {
      writer: id,
      writtenMs: nowMs,
      label: brings ? undefined : id,
      brought: brings,
      ready: brings,
    };
    if (known !== undefined) Object.assign(known, written);
    else this.objects.set(name, { ...written, createdMs: nowMs, streams: [] });
  }

  /** Its agent says that it serves. */
  askToLeave(name: string, id: string, nowMs: number): void {
    const object = this.objects.get(name);
    if (object === undefined || object.ready || object.label !== id) return;
    object.ready = true;
    object.writtenMs = nowMs;
  }

  delete(name: string): void {
    this.objects.delete(name);
    const open = this.#open.get(name);
    if (open !== undefined) open.recorded = false;
  }

  tick(nowMs: number): void {
    if (this.instance === undefined) return;
    for (const [name, open] of this.#open) this.#record(name, open, nowMs);
    for (const [name, { dueMs }] of this.#deregistering) {
      if (dueMs > nowMs) continue;
      this.#deregistering.delete(name);
      if (!this.#open.has(name) && this.objects.get(name)?.brought === true) this.objects.delete(name);
    }
    if (nowMs - this.upSinceMs >= FINALIZER_MS) this.#finalize(nowMs);
  }

  overview(name: string): DataplaneOverview | undefined {
    const object = this.objects.get(name);
    if (object === undefined) return undefined;
    const labels = object.label === undefined ? {} : { [INCARNATION_LABEL]: object.label };
    const networking = {
      address: `10.0.0.${name}`,
      inbound: [{ port: 80, state: object.ready ? 'Ready' : 'NotReady', tags: { 'kuma.io/service': 'web' } }],
    };
    return {
      mesh: 'default',
      name,
      creationTime: rfc3339(object.createdMs),
      modificationTime: rfc3339(object.writtenMs),
      labels,
      networking,
      resource: { type: 'Dataplane', mesh: 'default', name, labels, networking },
      subscriptions: object.streams.map((each) => ({ ...each })),
      metadata: object.brought && object.streams.length > 0 ? { 'dataplane.resource': '{}' } : {},
    };
  }

  overviews(): readonly DataplaneOverview[] {
    return [...this.objects.keys()].flatMap((name) => this.overview(name) ?? []);
  }

  #record(
    name: string,
    open: { readonly id: string; readonly sinceMs: number; recorded: boolean },
    nowMs: number,
  ): void {
    const object = this.objects.get(name);
    if (open.recorded || object === undefined || nowMs - open.sinceMs < REGISTER_MS) return;
    if (object.createdMs > open.sinceMs && nowMs - object.createdMs < RECORD_AGAIN_MS) return;
    open.recorded = true;
    const stream: Stream = {
      id: open.id,
      controlPlaneInstanceId: this.instance ?? '',
      connectTime: rfc3339(open.sinceMs),
    };
    object.streams = [...object.streams, stream].slice(-2);
  }

  #endStream(name: string, nowMs: number): void {
    const id = this.#open.get(name)?.id;
    const stream = this.objects.get(name)?.streams.find((each) => each.id === id);
    if (stream !== undefined) stream.disconnectTime = rfc3339(nowMs);
  }

  #finalize(nowMs: number): void {
    for (const { streams } of this.objects.values()) {
      for (const stream of streams) {
        if (stream.controlPlaneInstanceId !== this.instance) stream.disconnectTime ??= rfc3339(nowMs);
      }
    }
  }
}
