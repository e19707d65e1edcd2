import { OperationalError } from '../../kernel/errors.ts';
import type { Clock } from '../../kernel/clock.ts';
import type { ControlPlaneFacts } from '../../kuma/control-plane.ts';
import type { DeregistrarEvents } from '../events.ts';
import type { Store } from '../ports.ts';
import type { InstanceRecord, ZoneIdentity } from '../records.pure.ts';
import type { ZoneStanding } from './guards.pure.ts';
import type { Instances } from './instances.ts';
import { describeZone, mayBeSameZone } from './zone-binding.pure.ts';

export interface ZoneRegistryDeps {
  readonly clock: Clock;
  readonly events: DeregistrarEvents;
  readonly store: Pick<Store, 'bindZone' | 'instances' | 'noteInstances' | 'nowMs'>;
  /** As `thisHost()` names it: another one than all others that share the store. */
  readonly host: string;
}

/** Interval for reading other replicas' notes and repeating our own. */
const SYNC_MS = 10_000;
const REFRESH_MS = 600_000;
/** After this time Kuma itself deletes offline dataplanes, so the note no longer matters. */
const FORGET_MS = 72 * 3_600_000;

/** The zone's identity and its control plane instances, in the store. */
export class ZoneRegistry {
  readonly #deps: ZoneRegistryDeps;
  readonly #places: readonly [string, string];
  #standing: ZoneStanding = { kind: 'unchecked' };
  #isLoaded = false;
  #checked: string | undefined;
  #syncedAtMs = Number.NEGATIVE_INFINITY;
  #refreshedAtMs = Number.NEGATIVE_INFINITY;

  constructor(deps: ZoneRegistryDeps) {
    this.#deps = deps;
    // URLs on loopback mean another control plane on another host.
    const { host } = deps;
    // Until 0.2 a host was noted by its name only.
    this.#places = [`${host} `, `${host.split('#', 1)[0] ?? host} `];
  }

  /** The companion judges nothing before it has read the zone and its instances. */
  get standing(): ZoneStanding {
    return this.#isLoaded || this.#standing.kind === 'foreign' ? this.#standing : { kind: 'unchecked' };
  }

  /** Binds the store, or compares it. If the store is out of reach, the next call tries again. */
  async check(answering: readonly ControlPlaneFacts[]): Promise<void> {
    const zones = answering.map(identityOf);
    const [first] = zones;
    const asked = JSON.stringify(zones);
    if (first === undefined || (asked === this.#checked && this.#standing.kind !== 'unchecked')) return;
    const other = zones.find((zone) => !mayBeSameZone(first, zone));
    if (other !== undefined) {
      this.#checked = asked;
      this.#setForeign(`--kuma-api leads to ${describeZone(first)} and to ${describeZone(other)}`);
      return;
    }
    await this.#tryStore(async () => {
      const bound = await this.#deps.store.bindZone(first);
      this.#checked = asked;
      if (mayBeSameZone(bound, first)) this.#standing = { kind: 'same' };
      else
        this.#setForeign(
          `the store belongs to ${describeZone(bound)}, and --kuma-api leads to ${describeZone(first)}`,
        );
    });
  }

  /** Reads the store's notes and writes the changes. Never throws. */
  async sync(instances: Instances): Promise<void> {
    const { clock, store } = this.#deps;
    const nowMs = clock.monotonicMs();
    await this.#tryStore(async () => {
      if (!this.#isLoaded || nowMs - this.#syncedAtMs >= SYNC_MS) {
        const records = await store.instances();
        instances.load(
          records.map((record) => this.#fromStore(record)),
          nowMs,
        );
        this.#isLoaded = true;
        this.#syncedAtMs = nowMs;
      }
      if (nowMs - this.#refreshedAtMs >= REFRESH_MS) instances.refresh();
      const changes = instances.takeChanges();
      if (changes.length === 0) return;
      const beforeMs = (await store.nowMs()) - FORGET_MS;
      await store.noteInstances(
        changes.map((record) => this.#toStore(record)),
        beforeMs,
      );
      this.#refreshedAtMs = nowMs;
    });
  }

  #fromStore({ url, ...record }: InstanceRecord): InstanceRecord {
    const place = this.#places.find((each) => url?.startsWith(each));
    return { ...record, url: place === undefined ? undefined : url?.slice(place.length) };
  }

  #toStore({ url, ...record }: InstanceRecord): InstanceRecord {
    return { ...record, url: url === undefined ? undefined : `${this.#places[0]}${url}` };
  }

  #setForeign(reason: string): void {
    if (this.#standing.kind !== 'foreign') this.#deps.events.zoneForeign(reason);
    this.#standing = { kind: 'foreign', reason };
  }

  async #tryStore(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof OperationalError)) this.#deps.events.failedUnexpectedly(error);
    }
  }
}

function identityOf({ zoneName, clusterId }: ControlPlaneFacts): ZoneIdentity {
  return { name: zoneName, clusterId };
}
