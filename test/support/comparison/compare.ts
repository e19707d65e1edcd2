import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { type KumaUnderTest } from '../kuma-worlds/worlds.ts';
import { KUMAS, type LaneKind, SHORT, type StopScenario } from './scenario.ts';
import { type Durations, type StartScenario } from './start-scenarios.ts';
import { StopComparison } from './stop-comparison.ts';
import { UnitLane } from './unit-lane.ts';
import { type Comparison, worseThanAlone } from './verdict.ts';
import { yardstickMs } from './yardstick.ts';
import { ZoneComparison } from './zone-comparison.ts';
import { type ZoneScenario } from './zone-scenario.ts';

/** How much later a stop may end with the agent in front. */
const LATER_MS = 1_000;
/** How many more processes a unit with the agent starts one after the other: the agent, and `ExecStopPost=`. */
const MORE_STARTS = 2;
/** On the emulator, five such scenes share the cores of a machine. Real binaries run alone and get no such time. */
const CROWD_MS = 1_000;
/** Where the last outcomes are, a line each. */
const RESULTS_DIR = join(import.meta.dirname, '..', '..', '..', '.cache', 'comparison');

/** A test for each scenario, all of them at once in one world. */
export function compareStops(scenarios: readonly StopScenario[], kumas: readonly KumaUnderTest[]): void {
  describe.for(kumas)('with the agent it is no worse than alone, on $label', (kuma) => {
    const tempo = kuma.real ? KUMAS : SHORT;
    let shared: StopComparison;

    beforeAll(async () => {
      shared = await StopComparison.open(
        kuma,
        scenarios.filter((one) => !isolated(one)),
        tempo,
      );
    });

    afterAll(async () => {
      await shared[Symbol.asyncDispose]();
    });

    test.concurrent.for(scenarios.map(titled))('%s', async ([, scenario]) => {
      // A fault of a control plane must not reach other scenarios.
      await using own = isolated(scenario) ? await StopComparison.open(kuma, [scenario], tempo) : undefined;
      const [outcome, slowMs] = await Promise.all([(own ?? shared).run(scenario), yardstickMs()]);
      record(kuma, scenario, outcome);
      const { laterMs = LATER_MS, withinMs } = scenario;
      const allowance = {
        laterMs: laterMs + slowMs,
        ...(withinMs === undefined ? {} : { withinMs: withinMs + slowMs }),
      };
      expect(worseThanAlone(outcome, allowance)).toEqual([]);
    });
  });
}

/** The same for the view from another zone: each scenario in zones of its own. */
export function compareZones(scenarios: readonly ZoneScenario[], kumas: readonly KumaUnderTest[]): void {
  describe.for(kumas)('with the agent it is no worse than alone, on $label', (kuma) => {
    test.concurrent.for(scenarios.map(titled))('%s', async ([, scenario]) => {
      await using comparison = await ZoneComparison.open(kuma, scenario, kuma.real ? KUMAS : SHORT);
      const [outcome, slowMs] = await Promise.all([comparison.run(), yardstickMs()]);
      record(kuma, scenario, outcome);
      const { failed } = scenario;
      const allowance = { laterMs: LATER_MS + slowMs, ...(failed === undefined ? {} : { failed }) };
      expect(worseThanAlone(outcome, allowance)).toEqual([]);
    });
  });
}

/** Starts and broken stops: each in a world of its own. */
export function compareStarts(scenarios: readonly StartScenario[], kumas: readonly KumaUnderTest[]): void {
  describe.for(kumas)('with the agent it is as soon as alone, on $label', (kuma) => {
    test.concurrent.for(scenarios.map(titled))('%s', async ([, scenario]) => {
      const [durations, slowMs] = await Promise.all([runStart(kuma, scenario), yardstickMs()]);
      record(kuma, scenario, durations);
      const laterMs = (scenario.laterMs ?? LATER_MS) + (kuma.real ? 0 : CROWD_MS);
      expect(durations.agent).toBeLessThan(durations.bare + laterMs + MORE_STARTS * slowMs);
    });
  });
}

async function runStart(kuma: KumaUnderTest, scenario: StartScenario): Promise<Durations> {
  await using disposables = new AsyncDisposableStack();
  const { options, env, deregistrationDelayMs, endpoints } = scenario;
  const world = disposables.use(
    await kuma.create({
      defaultTiming: true,
      ...(deregistrationDelayMs === undefined ? {} : { deregistrationDelayMs }),
    }),
  );
  const own = await endpoints?.(world, disposables);
  const lane = async (name: LaneKind): Promise<UnitLane> =>
    disposables.use(
      await UnitLane.create(world, {
        lane: name,
        name,
        tempo: kuma.real ? KUMAS : SHORT,
        ...(own === undefined ? {} : { endpoints: own }),
        ...(options === undefined ? {} : { options }),
        ...(env === undefined ? {} : { env }),
      }),
    );
  return await scenario.run({ world, lanes: [await lane('bare'), await lane('agent')] });
}

/** Titles of objects are shortened. */
function titled<T extends { readonly title: string }>(scenario: T): readonly [string, T] {
  return [scenario.title, scenario];
}

function isolated({ fault }: StopScenario): boolean {
  return fault !== undefined;
}

function record(
  { label }: KumaUnderTest,
  { title }: { readonly title: string },
  outcome: Comparison | Durations,
): void {
  mkdirSync(RESULTS_DIR, { recursive: true });
  const file = join(RESULTS_DIR, `${label.replaceAll(/\W+/g, '-').toLowerCase()}.jsonl`);
  appendFileSync(file, `${JSON.stringify({ title, ...outcome })}\n`);
}
