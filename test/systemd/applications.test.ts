import { describe, expect, inject, test } from 'vitest';

import { bootThree } from '../support/systemd/rollable-host.ts';
import { HTTP1, NAMES, underLoad } from '../support/world/under-load.ts';
import { waitUntil } from '../support/world/wait-until.ts';

const layer = inject('layer');

describe('the application of one of three dataplanes is restarted under load, without retries', () => {
  test('no request fails with the drop-in', async () => {
    await using host = await bootThree(layer, { dataplane: 'ours', applicationDropIn: true });
    const summary = await underLoad(host, HTTP1, async () => {
      await host.systemd.systemctl('restart', 'application@backend-2');
    });
    expect(summary.byFailure).toEqual({});
    expect(host.deletedOverRest, 'the dataplane itself runs on').toEqual([]);
  });

  test('requests fail without it: the test above can fail', async () => {
    await using host = await bootThree(layer, { dataplane: 'ours', applicationDropIn: false });
    const summary = await underLoad(host, HTTP1, async () => {
      await host.systemd.systemctl('restart', 'application@backend-2');
    });
    expect(summary.failed).toBeGreaterThan(0);
  });
});

describe('a rolling restart of three dataplanes with their applications under load, without retries', () => {
  test('no request fails with our units', async () => {
    await using host = await bootThree(layer, { dataplane: 'ours', applicationDropIn: true });
    const summary = await underLoad(host, HTTP1, async (load) => {
      for (const name of NAMES) {
        await host.systemd.systemctl('restart', `application@${name}`, `kuma-dp@${name}`);
        const sinceMs = performance.now();
        await waitUntil(() => (load.summary(sinceMs).byInstance[name] ?? 0) > 0, {
          what: `${name} to get its share again`,
        });
      }
    });
    console.info(`rolling restart, our units: ${summary.failed} of ${summary.sent} failed`);
    expect(summary.byFailure).toEqual({});
    expect(host.deletedOverRest).toHaveLength(NAMES.length);
  });

  test('requests fail with the unit of Kuma’s documentation: the test above can fail', async () => {
    await using host = await bootThree(layer, { dataplane: 'documented', applicationDropIn: false });
    const summary = await underLoad(host, HTTP1, async () => {
      await host.systemd.systemctl('restart', 'application@backend-2', 'kuma-dp@backend-2');
    });
    console.info(`restart of one, documented unit: ${summary.failed} of ${summary.sent} failed`);
    expect(summary.failed).toBeGreaterThan(0);
  });
});
