import type { ControlPlaneFacts } from '../../../kuma/control-plane.ts';
import { DEFAULT_FACTS } from '../../../kuma/control-plane.ts';
import { describeKey, type DataplaneKey, type DataplaneResource } from '../../../kuma/dataplane.ts';
import type { DataplaneOverview, Subscription } from '../../../kuma/overview.ts';
import type { Clock } from '../../../kernel/clock.ts';

/** A Dataplane object with its insight, as the zone's control planes share them. Replaced on each change. */
export interface ZoneObject {
  readonly key: DataplaneKey;
  readonly resource: DataplaneResource;
  readonly createdMs: number;
  readonly writtenMs: number;
  /** Oldest first. */
  readonly subscriptions: readonly Subscription[];
  /** Whether a kuma-dp brought it on its stream: then the control plane deletes it when that stream has ended. */
  readonly brought: boolean;
}

export interface ZoneStream {
  readonly key: DataplaneKey;
  readonly id: string;
  readonly plane: FakePlane;
  readonly openedMs: number;
  /** Envoy notices that the control plane is gone. */
  onLost: () => void;
}

/** @see kuma pkg/config/xds/config.go, dataplaneDeregistrationDelay: the name is refused meanwhile */
const DEREGISTRATION_DELAY_MS = 10_000;
/** From a stream that opens to its record in the insight. */
const RECORD_MS = 1_000;
/** Until a stream that is open is recorded again at an object that was put back under it. */
const RECORD_AGAIN_MS = 20_000;
/** Until a stream of an instance that is gone is declared ended: 5 to 10 min. */
const FINALIZE_MS = 300_000;
/** Kuma keeps the last two. */
const SUBSCRIPTIONS = 2;

/** The database of one zone and its control planes: as much of Kuma as decides about departures. */
export class FakeZone {
  readonly clock: Clock;
  readonly objects = new Map<string, ZoneObject>();
  readonly planes: FakePlane[] = [];
  /** Called with each object that was put or deleted, right after it, and with the writer. */
  onChange: (what: 'put' | 'deleted', object: ZoneObject, by: string) => void = () => {};

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** A control plane that runs. */
  addPlane(): FakePlane {
    const plane = new FakePlane(this, `http://127.0.0.1:${5681 + this.planes.length}`);
    this.planes.push(plane);
    plane.start();
    return plane;
  }

  find(key: DataplaneKey): ZoneObject | undefined {
    return this.objects.get(describeKey(key));
  }

  /** @param by when, by the wall clock of the control plane that writes, and whether a kuma-dp brought it there */
  put(
    key: DataplaneKey,
    resource: DataplaneResource,
    by: { readonly nowMs: number; readonly brought?: boolean },
  ): ZoneObject {
    const { nowMs, brought = false } = by;
    const known = this.find(key);
    const object: ZoneObject = {
      key,
      resource,
      createdMs: known?.createdMs ?? nowMs,
      writtenMs: nowMs,
      subscriptions: known?.subscriptions ?? [],
      brought: brought || known?.brought === true,
    };
    this.objects.set(describeKey(key), object);
    if (known === undefined) for (const plane of this.planes) plane.recordAgain(key);
    this.onChange('put', object, brought ? 'kuma' : 'rest');
    return object;
  }

  /** @param by `kuma` for what a control plane does by itself */
  delete(key: DataplaneKey, by: string): boolean {
    const known = this.find(key);
    if (known === undefined) return false;
    this.objects.delete(describeKey(key));
    this.onChange('deleted', known, by);
    return true;
  }

  note(key: DataplaneKey, subscriptions: (known: readonly Subscription[]) => readonly Subscription[]): void {
    const known = this.find(key);
    if (known === undefined) return;
    const changed = subscriptions(known.subscriptions).slice(-SUBSCRIPTIONS);
    this.objects.set(describeKey(key), { ...known, subscriptions: changed });
  }

  overview(key: DataplaneKey): DataplaneOverview | undefined {
    const object = this.find(key);
    return object === undefined ? undefined : overviewOf(object);
  }

  overviews(): readonly DataplaneOverview[] {
    return [...this.objects.values()].map(overviewOf);
  }
}

/** One process of a control plane at one address; each start is another instance. */
export class FakePlane {
  readonly url: string;
  /** Its wall clock against the true one. */
  skewMs = 0;
  mode = 'zone';
  /** How long after the end of its stream it deletes a dataplane; `undefined`: Kuma's default, and it does not say so. */
  deregistrationDelayMs: number | undefined;
  zoneName: string | undefined;
  instanceId: string | undefined;
  readonly streams = new Map<string, ZoneStream>();
  readonly #zone: FakeZone;
  readonly #refused = new Set<string>();
  #starts = 0;
  #opened = 0;

  constructor(zone: FakeZone, url: string) {
    this.#zone = zone;
    this.url = url;
  }

  get isUp(): boolean {
    return this.instanceId !== undefined;
  }

  get nowMs(): number {
    return this.#zone.clock.wallMs() + this.skewMs;
  }

  get facts(): ControlPlaneFacts {
    const { instanceId, mode, zoneName, deregistrationDelayMs } = this;
    return { ...DEFAULT_FACTS, version: '2.14.3', instanceId, mode, zoneName, deregistrationDelayMs };
  }

  start(): void {
    if (this.isUp) return;
    this.#starts += 1;
    this.instanceId = `${this.url.slice(-4)}-${this.#starts}`;
    this.#finalizeLater();
  }

  /** @param graceful whether it still records that its streams have ended; it deletes nothing */
  stop(graceful: boolean): void {
    const streams = [...this.streams.values()];
    if (graceful) for (const stream of streams) this.#recordEnd(stream);
    this.instanceId = undefined;
    this.streams.clear();
    this.#refused.clear();
    for (const { onLost } of streams) onLost();
  }

  /**
   * Envoy connects.
   *
   * @param brings the resource that its kuma-dp was given; without one the object must be there
   * @returns `undefined` if it is refused
   */
  open(key: DataplaneKey, brings: DataplaneResource | undefined): ZoneStream | undefined {
    const name = describeKey(key);
    if (!this.isUp || this.#refused.has(name) || this.streams.has(name)) return undefined;
    if (brings !== undefined) this.#zone.put(key, brings, { nowMs: this.nowMs, brought: true });
    else if (this.#zone.find(key) === undefined) return undefined;
    this.#opened += 1;
    const id = `${this.instanceId ?? ''}-${this.#opened}`;
    const stream: ZoneStream = { key, id, plane: this, openedMs: this.nowMs, onLost: () => {} };
    this.streams.set(name, stream);
    this.#recordLater(stream, RECORD_MS);
    return stream;
  }

  isOpen(stream: ZoneStream): boolean {
    return this.streams.get(describeKey(stream.key)) === stream;
  }

  /** Whether the stream is open and an insight shows it: a moment after it was opened. */
  shows(stream: ZoneStream): boolean {
    const subscriptions = this.#zone.find(stream.key)?.subscriptions ?? [];
    return this.isOpen(stream) && subscriptions.some(({ id }) => id === stream.id);
  }

  /** The control plane sees the stream end. */
  end(stream: ZoneStream): void {
    if (!this.isOpen(stream)) return;
    const name = describeKey(stream.key);
    this.streams.delete(name);
    this.#recordEnd(stream);
    if (this.#zone.find(stream.key)?.brought !== true) return;
    this.#refused.add(name);
    this.#later(this.deregistrationDelayMs ?? DEREGISTRATION_DELAY_MS, () => {
      this.#refused.delete(name);
      const object = this.#zone.find(stream.key);
      const isHeld = object?.subscriptions.some(({ disconnectTime }) => disconnectTime === undefined);
      if (isHeld === false && !this.streams.has(name)) this.#zone.delete(stream.key, 'kuma');
    });
  }

  recordAgain(key: DataplaneKey): void {
    const stream = this.streams.get(describeKey(key));
    if (stream !== undefined) this.#recordLater(stream, RECORD_AGAIN_MS);
  }

  #recordLater(stream: ZoneStream, delayMs: number): void {
    const { id, key, openedMs } = stream;
    const subscription = {
      id,
      controlPlaneInstanceId: this.instanceId,
      connectTime: new Date(openedMs).toISOString(),
    };
    this.#later(delayMs, () => {
      if (!this.isOpen(stream)) return;
      this.#zone.note(key, (known) =>
        known.some((each) => each.id === id) ? known : [...known, subscription],
      );
    });
  }

  #recordEnd({ key, id }: ZoneStream): void {
    const disconnectTime = new Date(this.nowMs).toISOString();
    this.#zone.note(key, (known) =>
      known.map((each) => (each.id === id ? { ...each, disconnectTime } : each)),
    );
  }

  #finalizeLater(): void {
    this.#later(FINALIZE_MS, () => {
      const living = new Set(this.#zone.planes.map(({ instanceId }) => instanceId));
      const disconnectTime = new Date(this.nowMs).toISOString();
      for (const { key } of this.#zone.objects.values()) {
        this.#zone.note(key, (known) =>
          known.map((each) => (living.has(each.controlPlaneInstanceId) ? each : { disconnectTime, ...each })),
        );
      }
      this.#finalizeLater();
    });
  }

  /** Only as long as this instance lives. */
  #later(delayMs: number, fire: () => void): void {
    const { instanceId } = this;
    this.#zone.clock.after(delayMs, () => {
      if (this.instanceId === instanceId) fire();
    });
  }
}

/** An object is replaced on each change, so its overview is made once. */
const OVERVIEWS = new WeakMap<ZoneObject, DataplaneOverview>();

function overviewOf(object: ZoneObject): DataplaneOverview {
  const known = OVERVIEWS.get(object);
  if (known !== undefined) return known;
  const made = makeOverview(object);
  OVERVIEWS.set(object, made);
  return made;
}

function makeOverview(object: ZoneObject): DataplaneOverview {
  const { key, resource, createdMs, writtenMs, subscriptions, brought } = object;
  return {
    mesh: key.mesh,
    name: key.name,
    creationTime: new Date(createdMs).toISOString(),
    modificationTime: new Date(writtenMs).toISOString(),
    labels: resource.labels ?? {},
    networking: resource.networking,
    resource,
    subscriptions,
    metadata: brought && subscriptions.length > 0 ? { 'dataplane.resource': '{}' } : {},
  };
}
