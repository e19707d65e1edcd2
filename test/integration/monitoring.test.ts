import { describe, expect, test } from 'vitest';

import { CompanionWorld } from '../support/companion-world.ts';
import { ControlPlane, TLS_CERTIFICATE } from '../support/kuma/control-plane.ts';
import { agentCatalogue, companionCatalogue } from '../support/metric-catalogue.ts';
import { promtool } from '../support/promtool.ts';
import { scrape, type Scrape } from '../support/scrape.ts';
import { SignalScene } from '../support/signal-scene.ts';

/** Names of the metrics that a scrape has values of, without the suffixes of histograms. */
function namesOf({ body }: Scrape): ReadonlySet<string> {
  const samples = body.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Set(samples.map((line) => line.replace(/(_bucket|_sum|_count)?[{ ].*$/, '')));
}

describe.concurrent('a real scrape, as Prometheus judges it', () => {
  test("accepts the agent's metrics, which are all the documented ones", async (context) => {
    await using controlPlane = await ControlPlane.start();
    await using scene = new SignalScene({
      controlPlane,
      child: { contract: 'kuma', envoy: 'admin' },
      options: ['--metrics=127.0.0.1:0', '--settle=100ms'],
    });
    const agent = await scene.start();
    await scene.untilRunning(agent);
    const seen = await scrape(String((await agent.waitForEvent('metrics.served'))['address']));
    expect(promtool(context, ['check', 'metrics'], { input: seen.body })).toEqual({ code: 0, output: '' });
    const names = namesOf(seen);
    const missing = agentCatalogue().filter(({ name }) => !names.has(name));
    // Only with a companion.
    expect(missing.map(({ name }) => name)).toEqual([
      'kuma_dp_agent_companion_attached',
      'kuma_dp_agent_companion_epoch',
      'kuma_dp_agent_looks_total',
      'kuma_dp_agent_looks_refused_total',
    ]);
  });

  test("accepts the companion's metrics, which are all the documented ones", async (context) => {
    await using world = await CompanionWorld.start({
      companion: { tls: TLS_CERTIFICATE },
    });
    const seen = await scrape(new URL(world.companion.httpUrl).host);
    const { output } = promtool(context, ['check', 'metrics'], { input: seen.body });
    // prom-client's own gauges of Node end in _total, which is no matter of ours.
    expect(output.split('\n').filter((line) => line !== '' && !line.startsWith('nodejs_active_'))).toEqual(
      [],
    );
    const names = namesOf(seen);
    const missing = companionCatalogue().filter(({ name }) => !names.has(name));
    // Nothing is held, nothing is open, and no dataplane was deregistered and no agent refused.
    expect(missing.map(({ name }) => name)).toEqual([
      'kuma_deregistrar_brake_held',
      'kuma_deregistrar_departure_oldest_timestamp_seconds',
      'kuma_deregistrar_agents',
    ]);
    expect(seen.value('kuma_deregistrar_certificate_expiry_timestamp_seconds')).toBeGreaterThan(
      1_800_000_000,
    );
  });

  test('rejects a name against the convention', (context) => {
    const input = '# HELP kuma_stops Stops\n# TYPE kuma_stops counter\nkuma_stops 1\n';
    expect(promtool(context, ['check', 'metrics'], { input })).toMatchObject({
      code: 3,
      output: expect.stringContaining('_total') as string,
    });
  });
});
