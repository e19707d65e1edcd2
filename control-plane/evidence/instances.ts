import type { InstanceLook } from '../control-planes/instance-look.pure.ts';
import { isOnline, type DataplaneOverview, type Subscription } from '../../kuma/overview.ts';
import type { InstanceRecord, InstanceStanding } from '../records.pure.ts';

interface Instance {
  /** Where it answered; `undefined` if it never did, or only to a companion on another host. */
  url: string | undefined;
  standing: InstanceStanding;
  /** When this process saw it first and last, by an answer or a stream, monotonic. */
  readonly firstMs: number;
  lastMs: number;
}

/** Instances by id, for decisions. Unlisted ones were never seen, or prove nothing. */
export interface InstanceView {
  /** Instances that answered the last look. */
  readonly live: ReadonlySet<string>;
  /** Another instance has taken their place. */
  readonly ended: ReadonlySet<string>;
  /** Instances that do not answer: a stream that ended there may live elsewhere. */
  readonly doubtful: ReadonlySet<string>;
}

/** How long another instance must answer in its place before an instance counts as ended. */
const REPLACED_MS = 10_000;
/**
 * The same, if the other instance is on another host: behind a load balancer both may live. A control plane records
 * every 2.5 min that a stream lives. A control plane without a record in twice that time, and one look more, has ended.
 *
 * @see kuma pkg/xds/server/callbacks/dataplane_status_sink.go; KUMA_METRICS_DATAPLANE_IDLE_TIMEOUT
 */
const REPLACED_ELSEWHERE_MS = 330_000;
/** Dataplanes connect to a restarted control plane before it answers here. */
const UNNAMED_MS = 10_000;

/**
 * The control plane instances of the zone: those that answer at the URLs of `--kuma-api`, and those that the objects'
 * insights name. Ids change with each start of a control plane.
 */
export class Instances {
  readonly #known = new Map<string, Instance>();
  /** By URL: the instance that answered last, and since when, monotonic. */
  readonly #current = new Map<string, { readonly id: string; readonly sinceMs: number }>();
  /** Streams at ended instances, as they were seen last. */
  readonly #traces = new Map<string, string>();
  readonly #said = new Set<string>();
  readonly #changed = new Set<string>();
  #looks: readonly InstanceLook[] = [];

  /** Earlier notes of this process or another replica. Call it after the first look. */
  load(records: readonly InstanceRecord[], nowMs: number): void {
    const asked = new Set(this.#looks.map(({ url }) => url));
    for (const { id, url: noted, standing } of records) {
      // At a URL that this process does not ask, only others learn whether it was replaced.
      const url = noted !== undefined && asked.has(noted) ? noted : undefined;
      const known = this.#known.get(id);
      if (known === undefined) this.#known.set(id, { url, standing, firstMs: nowMs, lastMs: nowMs });
      // This process has newer evidence than the store: an answer at another URL, or a stream.
      else if (known.url === undefined && standing !== 'unnamed') Object.assign(known, { url, standing });
    }
  }

  /** @returns the notes to write */
  takeChanges(): readonly InstanceRecord[] {
    const changed = [...this.#changed].flatMap((id) => {
      const known = this.#known.get(id);
      if (known === undefined || isElsewhere(known)) return [];
      return [{ id, url: known.url, standing: known.standing }];
    });
    this.#changed.clear();
    return changed;
  }

  /** Everything seen recently is noted again, so that it is not dropped. */
  refresh(): void {
    for (const id of this.#known.keys()) this.#changed.add(id);
  }

  noteLooks(looks: readonly InstanceLook[], nowMs: number): void {
    this.#looks = looks;
    for (const { url, seen } of looks) {
      const id = 'facts' in seen ? seen.facts.instanceId : undefined;
      if (id !== undefined) this.#noteAnswer(url, id, nowMs);
    }
  }

  noteStreams(overviews: readonly DataplaneOverview[], nowMs: number): void {
    const online = overviews.flatMap(({ subscriptions }) => subscriptions.filter(isOnline));
    const traced = new Set<string>();
    for (const subscription of online) {
      const { controlPlaneInstanceId: id } = subscription;
      if (id === undefined) continue;
      const known = this.#known.get(id);
      if (known === undefined) this.#set(id, { url: undefined, standing: 'unnamed' }, nowMs);
      else {
        known.lastMs = nowMs;
        if (known.standing === 'ended') this.#noteGhost(id, subscription, nowMs);
        traced.add(subscription.id);
      }
    }
    for (const id of this.#traces.keys()) if (!traced.has(id)) this.#traces.delete(id);
  }

  /** Instances that no URL leads to, each once. */
  takeUnnamed(nowMs: number): readonly string[] {
    const unnamed = [...this.#known].filter(
      ([id, { standing, firstMs }]) =>
        standing === 'unnamed' && nowMs - firstMs >= UNNAMED_MS && !this.#said.has(id),
    );
    const ids = unnamed.map(([id]) => id);
    for (const id of ids) this.#said.add(id);
    return ids;
  }

  get view(): InstanceView {
    const live = new Set(
      this.#looks.flatMap(({ seen }) => ('facts' in seen ? [seen.facts.instanceId ?? ''] : [])),
    );
    const silent = new Set(this.#looks.flatMap(({ url, seen }) => ('problem' in seen ? [url] : [])));
    const asked = new Set(this.#looks.map(({ url }) => url));
    const ended = new Set<string>();
    const doubtful = new Set<string>();
    for (const [id, { url, standing }] of this.#known) {
      if (live.has(id)) continue;
      if (standing === 'ended') ended.add(id);
      else if (standing !== 'named' || url === undefined || silent.has(url) || !asked.has(url))
        doubtful.add(id);
    }
    return { live, ended, doubtful };
  }

  #noteAnswer(url: string, id: string, nowMs: number): void {
    const current = this.#current.get(url);
    const isShared = this.#isShared(url, id);
    this.#set(id, { url, standing: isShared ? 'shared' : 'named' }, nowMs);
    if (current?.id !== id) this.#current.set(url, { id, sinceMs: nowMs });
    const answeringMs = current?.id === id ? nowMs - current.sinceMs : 0;
    for (const [other, at] of this.#known)
      if (other !== id && at.url === url && at.standing !== 'ended')
        this.#noteReplaced(other, at, isShared ? 'shared' : { by: id, answeringMs });
  }

  #noteReplaced(
    id: string,
    { url, standing, lastMs }: Instance,
    how: 'shared' | { readonly by: string; readonly answeringMs: number },
  ): void {
    if (how === 'shared') this.#set(id, { url, standing: 'shared' }, lastMs);
    else if (standing === 'named' && how.answeringMs >= neededMs(id, how.by))
      this.#set(id, { url, standing: 'ended' }, lastMs);
  }

  /** Whether it was replaced at this URL before, and answers there again: then several are behind it. */
  #isShared(url: string, id: string): boolean {
    const known = this.#known.get(id);
    if (known?.url !== url) return false;
    const current = this.#current.get(url);
    return known.standing !== 'named' || (current !== undefined && current.id !== id);
  }

  /** A new or changed stream at an ended instance: the instance lives after all. */
  #noteGhost(id: string, subscription: Subscription, nowMs: number): void {
    const trace = JSON.stringify(subscription);
    const before = this.#traces.get(subscription.id);
    this.#traces.set(subscription.id, trace);
    if (before !== undefined && before !== trace)
      this.#set(id, { url: undefined, standing: 'unnamed' }, nowMs);
  }

  #set(id: string, to: Pick<Instance, 'url' | 'standing'>, nowMs: number): void {
    const known = this.#known.get(id);
    if (known?.url !== to.url || known?.standing !== to.standing) this.#changed.add(id);
    this.#known.set(id, { ...to, firstMs: known?.firstMs ?? nowMs, lastMs: nowMs });
  }
}

/** Another companion names this instance and records its answers. */
function isElsewhere({ url, standing }: Instance): boolean {
  return url === undefined && (standing === 'named' || standing === 'shared');
}

function neededMs(replaced: string, by: string): number {
  return hostOf(replaced) === hostOf(by) ? REPLACED_MS : REPLACED_ELSEWHERE_MS;
}

/**
 * An instance id is the host's name and four random characters.
 *
 * @see kuma pkg/core/runtime/builder.go, BuilderFor
 */
function hostOf(id: string): string {
  return id.slice(0, Math.max(0, id.lastIndexOf('-')));
}
