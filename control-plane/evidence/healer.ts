import { sleep, type Clock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import { OperationalError } from '../../kernel/errors.ts';
import { DataplaneResource, describeKey } from '../../kuma/dataplane.ts';
import { keyOf, type DataplaneOverview } from '../../kuma/overview.ts';
import type { AttachedAgent, AttachedAgents } from '../agents/attached-agents.ts';
import { judgeMissing, type Healing } from './heal.pure.ts';
import type { DataplaneRecord } from '../records.pure.ts';
import type { DeregistrarEvents } from '../events.ts';
import type { ControlPlanes, Store } from '../ports.ts';
import type { ZoneWatch } from './zone-watch.ts';

export interface HealerDeps {
  readonly clock: Clock;
  readonly events: DeregistrarEvents;
  readonly store: Store;
  readonly controlPlanes: ControlPlanes;
  readonly watch: ZoneWatch;
  readonly agents: AttachedAgents;
  readonly onHealed?: () => void;
}

const LOOK_INTERVAL_MS = 15_000;
/** After an object was found missing. */
const SOON_MS = 5_500;
/** After an agent came back. */
const RETURNED_MS = 1_000;
const PUT_BUDGET_MS = 2_000;

/** Puts back what is missing although its dataplane runs. Looks at the agents that are attached here. */
export class Healer {
  readonly #deps: HealerDeps;
  /** By name: since when and how often its object was not in the list. */
  readonly #missing = new Map<string, { readonly sinceMs: number; looks: number }>();
  #soon = Promise.withResolvers<void>();

  constructor(deps: HealerDeps) {
    this.#deps = deps;
  }

  /** How many objects are missing as of the last look. */
  get missing(): number {
    return this.#missing.size;
  }

  /** Somebody came back: look soon. */
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
      const pauseMs = this.#missing.size > 0 ? SOON_MS : LOOK_INTERVAL_MS;
      await Promise.race([
        sleep(clock, pauseMs, signal),
        this.#soon.promise.then(() => sleep(clock, RETURNED_MS, signal)),
      ]).catch(() => {});
    }
  }

  async #look(): Promise<void> {
    const { watch, agents, clock } = this.#deps;
    const { overviews } = await watch.fleet(1_000);
    const present = new Map(overviews.map((each) => [describeKey(keyOf(each)), each]));
    const nowMs = clock.monotonicMs();
    for (const name of this.#missing.keys()) if (present.has(name)) this.#missing.delete(name);
    for (const agent of agents) {
      // One that is busy, or cannot be put, must not keep the others waiting.
      await this.#lookAt(agent, present, nowMs).catch((error: unknown) => {
        if (!(error instanceof OperationalError)) throw error;
      });
    }
    const attached = new Set([...agents].map(({ arrival }) => describeKey(arrival.key)));
    for (const name of this.#missing.keys()) if (!attached.has(name)) this.#missing.delete(name);
  }

  async #lookAt(
    agent: AttachedAgent,
    present: ReadonlyMap<string, DataplaneOverview>,
    nowMs: number,
  ): Promise<void> {
    const name = describeKey(agent.arrival.key);
    const seen = present.get(name);
    if (seen !== undefined) {
      agent.lastBody = JSON.stringify(seen.resource);
      return;
    }
    if (!agent.serving || agent.leaving || agent.epoch === undefined) return;
    const known = this.#missing.get(name) ?? { sinceMs: nowMs, looks: 0 };
    known.looks += 1;
    this.#missing.set(name, known);
    const at = { key: agent.arrival.key, epoch: agent.epoch };
    const absence = { looks: known.looks, spanMs: nowMs - known.sinceMs };
    const judged = await this.#deps.store.whileCurrent(at, async (record, fence) => {
      const healing = this.#judge(agent, record, absence);
      if (healing.verdict === 'put' && !agent.leaving) {
        await this.#put(agent, healing, () => {
          fence.assertHeld();
        });
      }
      return healing.verdict;
    });
    // The store has forgotten one whose stream is open here.
    if (judged === undefined) this.#deps.agents.holds(at);
  }

  #judge(
    agent: AttachedAgent,
    record: DataplaneRecord,
    absence: { readonly looks: number; readonly spanMs: number },
  ): Healing {
    return judgeMissing({
      record: { ...record, phase: agent.phase },
      serving: agent.serving,
      absence,
      around: this.#deps.watch.surroundings,
      lastSeen: parse(agent.lastBody),
      brought: parse(record.resource),
    });
  }

  async #put(
    agent: AttachedAgent,
    { resource, reason }: Extract<Healing, { verdict: 'put' }>,
    assertHeld: () => void,
  ): Promise<void> {
    const { clock, controlPlanes, events, onHealed } = this.#deps;
    const { key } = agent.arrival;
    const action = `put dataplane ${describeKey(key)} back`;
    const put = await withDeadline({ clock, action, budgetMs: PUT_BUDGET_MS }, async ({ signal }) => {
      if ((await controlPlanes.read(key, signal)) !== undefined) return false;
      await controlPlanes.put(key, resource, { beforeSend: assertHeld, signal });
      return true;
    });
    this.#missing.delete(describeKey(key));
    if (!put) return;
    events.healed({ ...agent.arrival, epoch: agent.epoch }, reason);
    onHealed?.();
  }
}

function parse(resource: string | undefined): DataplaneResource | undefined {
  if (resource === undefined) return undefined;
  const parsed = DataplaneResource.safeParse(JSON.parse(resource));
  return parsed.success ? parsed.data : undefined;
}
