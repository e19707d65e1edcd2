import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { type KumaUnderTest } from '../kuma-worlds/worlds.ts';
import { KUMAS, SHORT, type StopScenario } from './scenario.ts';
import { StopComparison } from './stop-comparison.ts';
import { type Comparison, worseThanAlone } from './verdict.ts';
import { ZoneComparison } from './zone-comparison.ts';
import { type ZoneScenario } from './zone-scenario.ts';

/** As much later as a stop may end with the agent in front. */
const LATER_MS = 1_000;
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

    test.concurrent.for(scenarios)('$title', async (scenario) => {
      // What happens to a control plane must not happen to another scenario's.
      await using own = isolated(scenario) ? await StopComparison.open(kuma, [scenario], tempo) : undefined;
      const outcome = await (own ?? shared).run(scenario);
      record(kuma, scenario, outcome);
      const { laterMs = LATER_MS, withinMs } = scenario;
      const allowance = { laterMs, ...(withinMs === undefined ? {} : { withinMs }) };
      expect(worseThanAlone(outcome, allowance)).toEqual([]);
    });
  });
}

/** The same for what another zone sees: each in zones of its own. */
export function compareZones(scenarios: readonly ZoneScenario[], kumas: readonly KumaUnderTest[]): void {
  describe.for(kumas)('with the agent it is no worse than alone, on $label', (kuma) => {
    test.concurrent.for(scenarios)('$title', async (scenario) => {
      await using comparison = await ZoneComparison.open(kuma, scenario, kuma.real ? KUMAS : SHORT);
      const outcome = await comparison.run();
      record(kuma, scenario, outcome);
      const { failed } = scenario;
      const allowance = { laterMs: LATER_MS, ...(failed === undefined ? {} : { failed }) };
      expect(worseThanAlone(outcome, allowance)).toEqual([]);
    });
  });
}

function isolated({ weather }: StopScenario): boolean {
  return weather !== undefined;
}

function record({ label }: KumaUnderTest, { title }: { readonly title: string }, outcome: Comparison): void {
  mkdirSync(RESULTS_DIR, { recursive: true });
  const file = join(RESULTS_DIR, `${label.replaceAll(/\W+/g, '-').toLowerCase()}.jsonl`);
  appendFileSync(file, `${JSON.stringify({ title, ...outcome })}\n`);
}
