import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { ObjectKeeper } from '../../../../agent/object/keeper.ts';
import { INCARNATION_LABEL } from '../../../../kuma/dataplane.ts';
import { sideline } from '../../../../kuma/sidelined.ts';
import type { FakeClock } from '../../../support/fake-clock.ts';
import { FakeEndpoint } from '../../../support/fake-endpoint.ts';
import { FakeKeepers, TEMPLATE } from '../../../support/fake-keepers.ts';
import type { FakeLog } from '../../../support/fake-log.ts';
import { FakeObject } from '../../../support/fake-object.ts';

let keepers: FakeKeepers;
let clock: FakeClock;
let log: FakeLog;

beforeEach(() => {
  keepers = new FakeKeepers();
  ({ clock, log } = keepers);
});

afterEach(() => keepers.close());

function companionEndpoint(): FakeEndpoint & { readonly remembers: true } {
  return Object.assign(new FakeEndpoint(clock, 'companion', {}), { remembers: true as const });
}

function keeper(...given: Parameters<FakeKeepers['keeper']>): ObjectKeeper {
  return keepers.keeper(...given);
}

describe('an object that a companion has sidelined', () => {
  const STORED = {
    ...TEMPLATE,
    labels: { [INCARNATION_LABEL]: 'run-1' },
    networking: { address: '10.0.0.1', inbound: [{ port: 80, state: 'Ready' }] },
  };
  const LOSS = { epoch: 3, lostAtMs: 1_796_000_000_000 };

  function sidelined(): FakeObject {
    return new FakeObject(clock, sideline(STORED, LOSS)?.resource);
  }

  test.for([{ template: TEMPLATE }, { template: undefined }])(
    'is put back once the control plane accepts a run that no companion watches over ($template)',
    async ({ template }) => {
      const object = sidelined();
      const kept = keeper([object], { template, mayDelete: false });
      kept.onConfiguration('given');
      await clock.pass(60_000);
      expect(object.stored).toEqual(STORED);
      expect(object.history).toEqual(['0 Ready']);
      expect(log.events).toEqual(['dataplane.restored']);
    },
  );

  test('is put back within 45 s after the companion has gone, and looked at ever more rarely', async () => {
    const object = new FakeObject(clock, STORED);
    const kept = keeper([object]);
    kept.onCompanion(true);
    kept.onConfiguration('given');
    await clock.pass(600_000);
    object.stored = sideline(STORED, LOSS)?.resource;
    const goneAtMs = clock.monotonicMs();
    kept.onCompanion(false);
    await clock.passUntil(() => object.state === 'Ready');
    expect(clock.monotonicMs() - goneAtMs).toBeLessThanOrEqual(45_000);
    expect(object.stored).toEqual(STORED);
    const { looks } = object;
    await clock.pass(3_600_000);
    expect(object.looks - looks).toBeLessThan(20);
    object.stored = sideline(STORED, LOSS)?.resource;
    await clock.pass(400_000);
    expect(object.state, 'a write of the companion may land late').toBe('Ready');
  });

  test('that is owned is put back as well, and an edit of another writer stays', async () => {
    const object = new FakeObject(clock);
    const kept = keeper([object]);
    const claimed = kept.claim(900, new AbortController().signal);
    await clock.pass(10);
    await claimed;
    kept.onConfiguration('given');
    kept.onServing();
    await clock.pass(1_000);
    kept.onCompanion(false);
    const { stored } = object;
    if (stored === undefined) throw new TypeError('It was put');
    const held = {
      ...stored,
      networking: { ...stored.networking, inbound: [{ port: 80, state: 'NotReady' }] },
    };
    object.stored = held;
    await clock.pass(120_000);
    expect(object.stored).toEqual(held);
    object.stored = sideline(stored, LOSS)?.resource;
    await clock.pass(400_000);
    expect(object.state).toBe('Ready');
  });

  test('is left to the companion while one watches, and to another run whose it is', async () => {
    const object = sidelined();
    const kept = keeper([object]);
    kept.onCompanion(true);
    kept.onConfiguration('given');
    await clock.pass(600_000);
    expect(object.looks).toBe(0);
    const foreign = new FakeObject(clock, {
      ...sideline({ ...STORED, labels: { [INCARNATION_LABEL]: 'run-2' } }, LOSS)?.resource,
    } as typeof STORED);
    keeper([foreign]).onConfiguration('given');
    await clock.pass(600_000);
    expect(foreign.state).toBe('NotReady');
  });

  test('is put back by one slow write, however often the agent fails to attach meanwhile', async () => {
    const object = sidelined();
    object.writeMs = 900;
    const kept = keeper([object]);
    kept.onCompanion(false);
    kept.onConfiguration('given');
    await clock.passUntil(() => object.looks > 0);
    for (let nth = 0; nth < 20; nth += 1) {
      kept.onCompanion(false);
      await clock.pass(200);
    }
    expect(object.state).toBe('Ready');
    expect(object.looks).toBe(1);
    expect(log.events).toEqual(['dataplane.restored']);
  });

  test('stays out while the operator wants it out', async () => {
    const object = sidelined();
    const kept = keeper([object]);
    const record = { wanted: 'out', since: '2026-11-30T00:00:00Z', states: { ':80': 'Ready' } } as const;
    kept.follow({ record, prepare: () => Promise.resolve(), onMade: () => 60_000, onFailed: () => 1_000 });
    kept.onConfiguration('given');
    await clock.pass(120_000);
    expect(object.state).toBe('NotReady');
    expect(object.stored?.labels).toEqual(STORED.labels);
  });

  test('a companion is never asked to put it back', async () => {
    const companion = companionEndpoint();
    const object = sidelined();
    const kept = keeper([companion, object]);
    kept.onCompanion(false);
    kept.onConfiguration('given');
    await clock.pass(60_000);
    expect(object.state).toBe('Ready');
    expect(companion.calls).toEqual([]);
  });

  test('where only companions are known, the run waits for one', async () => {
    const companion = companionEndpoint();
    const kept = keeper([companion]);
    kept.onCompanion(false);
    kept.onConfiguration('given');
    await clock.pass(600_000);
    expect(companion.calls).toEqual([]);
  });
});
