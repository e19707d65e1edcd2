import { sleep, type Clock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import { describeError, OperationalError } from '../../kernel/errors.ts';
import { describeKey, INCARNATION_LABEL, storedResource } from '../../kuma/dataplane.ts';
import { isOnline, keyOf, type DataplaneOverview } from '../../kuma/overview.ts';
import { restored } from '../../kuma/sidelined.ts';
import type { At, AttachedAgent } from '../attached-agent.ts';
import { decide, type Decision, type StreamEvidence } from './decision.pure.ts';
import type { DataplaneRecord } from '../records.pure.ts';
import type { DeregistrarEvents } from '../events.ts';
import type { ControlPlanes, Store } from '../ports.ts';
import type { ZoneWatch } from './zone-watch.ts';

/** The agents attached to this replica. */
interface AttachedHere extends Iterable<AttachedAgent> {
  readonly size: number;
  /** Called when the record of this stream is wrong. */
  doubt(at: At): void;
  /** Whether this incarnation has recently asked for a name that another one has. */
  isAsking(incarnation: string): boolean;
}

export interface HealerDeps {
  readonly clock: Clock;
  readonly events: DeregistrarEvents;
  readonly store: Store;
  readonly controlPlanes: ControlPlanes;
  readonly watch: ZoneWatch;
  readonly agents: AttachedHere;
  readonly graceMs: number;
  readonly sweepOfflineAfterMs: number;
  readonly onHealed?: () => void;
}

const LOOK_INTERVAL_MS = 15_000;
/** Interval after a look that found an object missing. */
const SOON_MS = 5_500;
/** Delay of the look after an agent came back. */
const RETURNED_MS = 1_000;
const PUT_BUDGET_MS = 2_000;
const NO_PREDECESSORS: ReadonlySet<string> = new Set();

/** A missing object, or the leftover of an ended incarnation. */
interface MissingObject {
  readonly sinceMs: number;
  looks: number;
  /** The agent's message count when the object was found missing. */
  readonly words: number;
  /** The connection's byte count when the object was found missing. */
  readonly heardBytes: number | undefined;
  /** Why it could not be put back, as logged last. */
  problem?: string;
}

interface SeenBody {
  readonly incarnation: string;
  /** When the control plane wrote it last. */
  readonly writtenAt: string | undefined;
  readonly body: string;
}

/** Puts back missing objects of running dataplanes. Looks at the agents that are attached here. */
export class Healer {
  readonly #deps: HealerDeps;
  /** By name. */
  readonly #missing = new Map<string, MissingObject>();
  /** By name: JSON of the object as the control plane last had it. */
  readonly #bodies = new Map<string, SeenBody>();
  #soon = Promise.withResolvers<void>();
  #judgedAtMs: number | undefined;
  /** Agents that began to serve after the last list was read. */
  #newcomers = 0;

  constructor(deps: HealerDeps) {
    this.#deps = deps;
  }

  /** The number of missing objects at the last look. */
  get missing(): number {
    return this.#missing.size;
  }

  /** An agent came back: look soon. */
  lookSoon(): void {
    this.#soon.resolve();
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, events, agents } = this.#deps;
    while (!signal.aborted) {
      this.#soon = Promise.withResolvers();
      if (agents.size > 0) {
        await this.#look().catch((error: unknown) => {
          if (!(error instanceof OperationalError)) events.failedUnexpectedly(error);
        });
      }
      const pauseMs = this.#missing.size + this.#newcomers > 0 ? SOON_MS : LOOK_INTERVAL_MS;
      await Promise.race([
        sleep(clock, pauseMs, signal),
        this.#soon.promise.then(() => sleep(clock, RETURNED_MS, signal)),
      ]).catch(() => {});
    }
  }

  async #look(): Promise<void> {
    const { watch, agents } = this.#deps;
    const { overviews, atMs } = await watch.fleet.paced(1_000);
    // A list that was judged already is no new evidence.
    if (atMs === this.#judgedAtMs) return;
    this.#judgedAtMs = atMs;
    this.#newcomers = 0;
    const present = new Map(overviews.map((each) => [describeKey(keyOf(each)), each]));
    for (const agent of agents) {
      // A busy name, or an object that cannot be put, must not delay the other agents.
      await this.#lookAt(agent, present, atMs).catch((error: unknown) => {
        this.#onFailed(agent, error);
      });
    }
    const attached = new Set([...agents].map(({ introduction }) => describeKey(introduction.key)));
    for (const map of [this.#missing, this.#bodies])
      for (const name of map.keys()) if (!attached.has(name)) map.delete(name);
  }

  async #lookAt(
    agent: AttachedAgent,
    present: ReadonlyMap<string, DataplaneOverview>,
    atMs: number,
  ): Promise<void> {
    const name = describeKey(agent.introduction.key);
    const seen = present.get(name);
    if (seen !== undefined && !(await this.#isLeftBehind(agent, seen.labels))) {
      // A list that was read before this run served may show the body of the run before it.
      if (agent.serving && agent.sinceMs <= atMs && isOfRun(agent.introduction.incarnation, seen))
        this.#noteBody(name, agent.introduction.incarnation, seen);
      this.#missing.delete(name);
      return;
    }
    if (!agent.serving || agent.leaving || agent.epoch === undefined) return;
    if (agent.sinceMs > atMs) {
      this.#newcomers += 1;
      return;
    }
    const missing = this.#noteMissing(agent);
    const at = { key: agent.introduction.key, epoch: agent.epoch };
    const judged = await this.#deps.store.whileCurrent(at, async (record, fence) => {
      const healing = this.#judge(agent, record, missing);
      if (healing.verdict === 'put back' && !agent.leaving) {
        await this.#put(agent, healing, () => {
          fence.assertHeld();
        });
      }
      return healing.verdict;
    });
    // The store has lost the record of a stream that is open here.
    if (judged === undefined) this.#deps.agents.doubt(at);
  }

  /** Names each problem of an object once. The next look tries again. */
  #onFailed({ introduction, epoch }: AttachedAgent, error: unknown): void {
    if (!(error instanceof OperationalError)) throw error;
    const missing = this.#missing.get(describeKey(introduction.key));
    const problem = describeError(error);
    // The store's watch logs an outage once.
    if (missing === undefined || missing.problem === problem || error.code === 'STORE_UNAVAILABLE') return;
    missing.problem = problem;
    this.#deps.events.healingFailed({ ...introduction, epoch }, error);
  }

  /** Most objects have not changed since the last look: ten thousand bodies are not serialised anew each time. */
  #noteBody(
    name: string,
    incarnation: string,
    { modificationTime: writtenAt, resource }: DataplaneOverview,
  ): void {
    const known = this.#bodies.get(name);
    const isKnown = known?.incarnation === incarnation && known.writtenAt === writtenAt;
    if (isKnown && writtenAt !== undefined) return;
    this.#bodies.set(name, { incarnation, writtenAt, body: JSON.stringify(restored(resource)) });
  }

  /** Asks the agent for a sign of life with each look: messages from now on were sent after the object had gone. */
  #noteMissing({ introduction, channel, words }: AttachedAgent): MissingObject {
    const name = describeKey(introduction.key);
    const missing = this.#missing.get(name) ?? {
      sinceMs: this.#deps.clock.monotonicMs(),
      looks: 0,
      words,
      heardBytes: channel.heardBytes(),
    };
    missing.looks += 1;
    this.#missing.set(name, missing);
    channel.ask();
    return missing;
  }

  /** Whether an ended incarnation put the object: its agent owned it, and its departure is over. */
  async #isLeftBehind(
    { introduction }: AttachedAgent,
    labels: DataplaneOverview['labels'] = {},
  ): Promise<boolean> {
    const incarnation = labels[INCARNATION_LABEL];
    if (
      introduction.owner !== 'agent' ||
      incarnation === undefined ||
      incarnation === introduction.incarnation
    )
      return false;
    if (this.#deps.agents.isAsking(incarnation)) return false;
    const ended = await this.#deps.store.departures({ key: introduction.key, incarnation, limit: 1 });
    return ended.length > 0;
  }

  #judge(agent: AttachedAgent, record: DataplaneRecord, missing: MissingObject): Decision {
    const { clock, watch, graceMs, sweepOfflineAfterMs } = this.#deps;
    const { phase, introduction } = agent;
    const seen = this.#bodies.get(describeKey(introduction.key));
    return decide({
      record: { ...record, phase },
      stream: streamOf(agent, record, missing),
      object: {
        kind: 'missing',
        looks: missing.looks,
        spanMs: clock.monotonicMs() - missing.sinceMs,
        lastSeen: seen?.incarnation === introduction.incarnation ? storedResource(seen.body) : undefined,
        brought: storedResource(record.resource),
      },
      envoy: 'unknown',
      pendingMs: 0,
      predecessors: NO_PREDECESSORS,
      clock: { nowMs: undefined, steadyMs: watch.clock.steadyMs },
      around: watch.surroundings,
      graceMs,
      sweepOfflineAfterMs,
    });
  }

  async #put(
    agent: AttachedAgent,
    { resource, reason }: Extract<Decision, { verdict: 'put back' }>,
    assertHeld: () => void,
  ): Promise<void> {
    const { clock, controlPlanes, events, onHealed } = this.#deps;
    const { key } = agent.introduction;
    const action = `put dataplane ${describeKey(key)} back`;
    const put = await withDeadline({ clock, action, budgetMs: PUT_BUDGET_MS }, async ({ signal }) => {
      const stored = await controlPlanes.read(key, signal);
      if (stored !== undefined && !(await this.#isLeftBehind(agent, stored.labels))) return false;
      await controlPlanes.put(key, resource, { beforeSend: assertHeld, signal });
      return true;
    });
    this.#missing.delete(describeKey(key));
    if (!put) return;
    events.healed({ ...agent.introduction, epoch: agent.epoch }, reason);
    onHealed?.();
  }
}

/** The record wins: another replica may have acted on it since. */
function streamOf(
  { serving, words, channel }: AttachedAgent,
  { lostAtMs }: DataplaneRecord,
  missing: MissingObject,
): StreamEvidence {
  if (lostAtMs !== undefined) return { kind: 'ended', missingMs: 0 };
  const heardSince = words > missing.words || hasGrown(missing.heardBytes, channel.heardBytes());
  return { kind: 'open', serving, heardSince };
}

function hasGrown(before: number | undefined, now: number | undefined): boolean {
  return before !== undefined && now !== undefined && now > before;
}

/** A run before this one may have left it, with other ports: its label says no, and so does an Envoy that is connected. */
function isOfRun(incarnation: string, { labels, subscriptions }: DataplaneOverview): boolean {
  return labels[INCARNATION_LABEL] === incarnation || subscriptions.some(isOnline);
}
