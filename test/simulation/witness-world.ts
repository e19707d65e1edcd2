import { describeKey } from '../../kuma/dataplane.ts';
import { withPorts } from '../../kuma/port-states.ts';
import { isSidelined, SIDELINED_LABEL } from '../../kuma/sidelined.ts';
import { servicesOf } from '../../kuma/services.ts';
import type { FakeZone, ZoneObject } from '../support/fakes/fake-zone.ts';
import { emptyTables, type MemoryDatabase } from '../support/fakes/memory-database.ts';
import type { SimHost } from './sim-host.ts';
import { COMPANION, type SimReach } from './sim-reach.ts';
import type { Timeline } from './timeline.ts';
import type { WitnessFault } from './witness-history.ts';

export interface WitnessWorldDeps {
  readonly timeline: Timeline;
  readonly zone: FakeZone;
  readonly database: MemoryDatabase;
  readonly hosts: readonly SimHost[];
  readonly reach: SimReach;
  /** A host that no witness ever reaches. */
  readonly closed: SimHost | undefined;
  /** Whether the store's time is the true one. */
  readonly isSteady: boolean;
}

/** What a round may be older than the write that follows from it, and for how long a write may be under way. */
const STALE_MS = 3_000;
/** Where a control plane is slow, a write lands so much later. */
const LATE_MS = 16_000;
/** A decision that is older is not carried out, and a request takes no longer. */
const EVIDENCE_MS = 20_000 + 2_000;
/** A firewall that fails over resets connections for so long, then it drops them. */
const RESETS_MS = 2_000;
/** Between two reports of a health check that no control plane takes. */
const HEALTH_MS = 1_000;

/** What happens to dataplanes whose peers look at them, and what must never come of it. */
export class WitnessWorld {
  /** When each dataplane was marked as sidelined, true time. */
  readonly sidelinedMs = new Map<string, number[]>();
  /** When its last mark went. */
  readonly restoredMs = new Map<string, number>();
  readonly #deps: WitnessWorldDeps;
  /** Marks that were seen on objects, with how often they came. */
  readonly #marks = new Map<string, number>();

  constructor(deps: WitnessWorldDeps) {
    this.#deps = deps;
    const { closed, reach } = deps;
    if (closed !== undefined) reach.bar('outsiders only', closed, Number.POSITIVE_INFINITY);
  }

  happen(fault: WitnessFault): void {
    const { hosts, database } = this.#deps;
    if (fault.kind === 'store is lost') database.tables = emptyTables();
    else if ('hosts' in fault) {
      for (const host of hosts.slice(0, fault.hosts))
        if (fault.kind === 'rack goes dark') this.#darken(host, fault.forMs);
        else this.#cutFromCompanion(host, fault.forMs);
    } else {
      const host = hosts[fault.host];
      if (host !== undefined) this.#happenTo(host, fault);
    }
  }

  /** @returns what is wrong with an object that a companion has just put */
  judgePut(object: ZoneObject, before: ZoneObject | undefined, isLate: boolean): readonly string[] {
    const mark = markOf(object);
    const known = before === undefined ? undefined : markOf(before);
    const { name } = object.key;
    const nowMs = this.#deps.timeline.monotonicMs();
    if (mark === undefined && known !== undefined) this.restoredMs.set(name, nowMs);
    if (mark === undefined || known === mark) return [];
    this.sidelinedMs.set(name, [...(this.sidelinedMs.get(name) ?? []), nowMs]);
    const times = (this.#marks.get(`${name} ${mark}`) ?? 0) + 1;
    this.#marks.set(`${name} ${mark}`, times);
    if (isLate) return this.#judgeServed(name, nowMs - LATE_MS);
    return [
      ...this.#judgeServed(name, nowMs),
      ...(times > 1 ? [`${name} was sidelined ${times} times for one loss`] : []),
      ...this.#judgeLast(object),
      ...this.#judgeEvidence(object),
    ];
  }

  unfinished(living: ReadonlySet<string>): readonly string[] {
    const { zone, database } = this.#deps;
    const marked = [...zone.objects.values()].filter(({ resource }) => isSidelined(resource));
    const open = [...database.tables.sidelinings.values()].filter(({ stage }) => stage !== 'released');
    return [
      ...marked
        .filter(({ key }) => living.has(key.name))
        .map(({ key }) => `${key.name} is back, and bears a mark`),
      ...open.map(({ key, stage }) => `the sidelining of ${key.name} is ${stage}`),
    ];
  }

  #happenTo(host: SimHost, fault: Extract<WitnessFault, { readonly host: number }>): void {
    const { reach, hosts, timeline } = this.#deps;
    switch (fault.kind) {
      case 'host goes dark':
        return this.#darken(host, fault.forMs);
      case 'host freezes':
        for (const process of [host.run?.agent.process, host.run?.envoy]) process?.pause(fault.forMs, true);
        reach.bar('frozen', host, fault.forMs);
        return this.#darken(host, fault.forMs);
      case 'agent freezes':
        return host.run?.agent.freeze(fault.forMs);
      case 'firewall fails over':
        host.run?.agent.loseLink(1);
        reach.bar('firewall resets', host, RESETS_MS);
        timeline.after(RESETS_MS, () => {
          reach.bar('firewall drops', host, fault.forMs);
        });
        return undefined;
      case 'firewall rejects':
        return reach.bar('firewall resets', host, fault.forMs);
      case 'agent attaches slowly':
        host.slowUntilMs = timeline.monotonicMs() + fault.forMs;
        return undefined;
      case 'agent is asked to look':
        return host.run?.agent.lookAt(fault.address, fault.times);
      case 'firewall cuts all':
        reach.bar('firewall drops', host, fault.forMs);
        return this.#cut(host, fault.forMs);
      case 'new connects are dropped':
        return reach.bar('full', host, fault.forMs);
      case 'only clients are let in':
        return reach.bar('clients only', host, fault.forMs);
      case 'connects are redirected':
        return reach.redirect(host, fault.forMs);
      case 'host cannot connect':
        return reach.bar('connects out', host, fault.forMs);
      case 'companion cannot look':
        return reach.cut(COMPANION, host, fault.forMs);
      case 'peer cannot connect':
        return reach.cut(hosts[fault.from]?.address ?? '', host, fault.forMs);
      case 'witness stalls':
        return host.run?.agent.process.pause(fault.forMs);
      case 'witness is flawed':
        host.flaw = fault.flaw;
        return undefined;
      case 'address is taken':
        return reach.take(host);
      case 'operator edits':
        return this.#edit(host);
      case 'health check fails':
        this.#setState(host, 'NotReady');
        timeline.after(fault.forMs, () => {
          this.#setReady(host);
        });
        return undefined;
    }
  }

  /** Its link is down. */
  #darken(host: SimHost, forMs: number): void {
    this.#deps.reach.bar('dark', host, forMs);
    this.#cut(host, forMs);
  }

  #cut(host: SimHost, forMs: number): void {
    host.cutPlanes();
    this.#cutFromCompanion(host, forMs);
  }

  #cutFromCompanion(host: SimHost, forMs: number): void {
    const { reach, timeline } = this.#deps;
    host.cutCompanion();
    reach.cut(COMPANION, host, forMs);
    timeline.after(forMs, () => {
      host.join();
    });
  }

  #edit(host: SimHost): void {
    this.#write(host, (object) => ({
      ...object.resource,
      labels: { ...object.resource.labels, edited: String(this.#deps.timeline.monotonicMs()) },
    }));
  }

  /** As Kuma's health checks write: states, and nothing else. */
  #setState(host: SimHost, state: string): boolean {
    return this.#write(host, (object) => withPorts(object.resource, (port) => ({ ...port, state })));
  }

  /** Envoy says it again to the control plane that it finds next. */
  #setReady(host: SimHost): void {
    const { timeline } = this.#deps;
    if (this.#setState(host, 'Ready')) return;
    timeline.after(HEALTH_MS, () => {
      this.#setReady(host);
    });
  }

  /** @returns `false` if no control plane is up */
  #write(host: SimHost, change: (object: ZoneObject) => ZoneObject['resource']): boolean {
    const { zone } = this.#deps;
    const object = zone.find(host.key);
    const plane = zone.planes.find(({ isUp }) => isUp);
    if (plane === undefined) return false;
    if (object !== undefined) zone.put(host.key, change(object), plane);
    return true;
  }

  #judgeServed(name: string, nowMs: number): readonly string[] {
    const { hosts, reach } = this.#deps;
    const served = hosts
      .filter((host) => host.name === name)
      .map((host) => reach.servedSinceMs(host))
      .find((each) => each !== undefined);
    return served !== undefined && nowMs - served > STALE_MS
      ? [`${SERVED}: ${name} had served its clients for ${Math.round(nowMs - served)} ms, and was sidelined`]
      : [];
  }

  /** The name is locked while its object is written: no agent attaches meanwhile. */
  #judgeEvidence({ key }: ZoneObject): readonly string[] {
    const { database, timeline, isSteady } = this.#deps;
    const name = describeKey(key);
    const row = database.find(key);
    const { beganAtMs = 0 } = database.tables.sidelinings.get(name) ?? {};
    const ageMs = timeline.wallMs() - beganAtMs;
    return [
      ...(row?.state === 'attached' ? [`${key.name} was attached, and was sidelined`] : []),
      ...(isSteady && ageMs > EVIDENCE_MS
        ? [`${key.name} was sidelined on evidence of ${ageMs} ms ago`]
        : []),
    ];
  }

  #judgeLast({ key, resource }: ZoneObject): readonly string[] {
    const { zone } = this.#deps;
    const others = [...zone.objects.values()].filter(
      (each) => describeKey(each.key) !== describeKey(key) && isReady(each),
    );
    return servicesOf(resource)
      .filter((service) => !others.some((each) => servicesOf(each.resource).includes(service)))
      .map((service) => `${key.name} was the last ready one of ${service}, and was sidelined`);
  }
}

/** The invariant that mixes of faults may break, once in a hundred histories. */
export const SERVED = 'served';

function markOf({ resource }: ZoneObject): string | undefined {
  return resource.labels?.[SIDELINED_LABEL];
}

function isReady({ resource }: ZoneObject): boolean {
  return resource.networking?.inbound?.every(({ state = 'Ready' }) => state === 'Ready') === true;
}
