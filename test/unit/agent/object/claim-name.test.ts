import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { CompanionAttachment } from '../../../../agent/companion/attachment.ts';
import { claimName, type Claim } from '../../../../agent/object/claim-name.ts';
import type { Owner } from '../../../../agent/identity/owner.pure.ts';
import { agentEvents } from '../../../../agent/events.ts';
import { Endpoints } from '../../../../agent/object/endpoints.ts';
import { ObjectKeeper } from '../../../../agent/object/keeper.ts';
import { sleep } from '../../../../kernel/clock.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { answersLate, FakeEndpoint, fails, hangs, type FakeReplies } from '../../../support/fake-endpoint.ts';
import { FakeLog } from '../../../support/fake-log.ts';

const RESOURCE = { type: 'Dataplane', mesh: 'default', name: 'web-1' };

describe('claimName()', () => {
  let clock: FakeClock;
  let log: FakeLog;
  let stopping: AbortController;
  let settledOwners: Owner[];

  beforeEach(() => {
    clock = new FakeClock();
    log = new FakeLog();
    stopping = new AbortController();
    settledOwners = [];
  });

  afterEach(async () => {
    stopping.abort(new Error('the test is over'));
    await clock.settle();
    expect(clock.armed, 'timers left armed').toBe(0);
  });

  /** @param epochAfterMs `undefined`: never */
  function attachment(epochAfterMs: number | undefined): Pick<CompanionAttachment, 'begin' | 'confirmOwner'> {
    return {
      async begin(_owner, budgetMs, cancel) {
        const late = epochAfterMs === undefined || epochAfterMs > budgetMs;
        await sleep(clock, late ? budgetMs : epochAfterMs, cancel).catch(() => {});
        return late || cancel.aborted ? undefined : 7;
      },
      confirmOwner: (owner) => settledOwners.push(owner),
    };
  }

  async function claim(
    claimed: Partial<Claim> & { readonly owner?: Owner },
    world: {
      readonly epochAfterMs?: number;
      readonly companion?: false;
      readonly register?: FakeReplies['hide'];
    } = {},
  ): Promise<{ readonly owner: Owner; readonly atMs: number; readonly registered: number }> {
    const endpoint = new FakeEndpoint(
      clock,
      'a',
      world.register === undefined ? {} : { hide: world.register },
    );
    const key = { proxyType: 'dataplane', mesh: 'default', name: 'web-1' } as const;
    const shared = { clock, events: agentEvents(log), random: () => 0.5 };
    const keeper = new ObjectKeeper({
      ...shared,
      endpoints: new Endpoints({ ...shared, endpoints: [endpoint], key, settle: 'auto' }),
      departure: { key, own: { incarnation: 'run-1', address: undefined } },
      template: RESOURCE,
      mayDelete: true,
    });
    let done: Owner | undefined;
    void claimName(
      {
        clock,
        events: agentEvents(log),
        keeper,
        attachment:
          world.companion === false ? undefined : (attachment(world.epochAfterMs) as CompanionAttachment),
        stopping: stopping.signal,
      },
      {
        choice: { owner: claimed.owner ?? 'agent' },
        insistent: false,
        ...claimed,
      },
    ).then((owner) => {
      done = owner;
    });
    await clock.passUntil(() => done !== undefined);
    const registered = endpoint.times('hide').length;
    keeper.close();
    return { owner: done ?? 'external', atMs: clock.monotonicMs(), registered };
  }

  test('takes an epoch first, then puts the object', async () => {
    expect(await claim({}, { epochAfterMs: 300 })).toEqual({ owner: 'agent', atMs: 300, registered: 1 });
    expect(log.events).toEqual(['dataplane.registered']);
    expect(settledOwners).toEqual(['agent']);
  });

  test('without an epoch in time nothing is put, and the control plane owns the object', async () => {
    expect(await claim({})).toEqual({ owner: 'cp', atMs: 800, registered: 0 });
    expect(log.events).toEqual(['companion.missed']);
    expect(settledOwners).toEqual(['cp']);
  });

  test('with an epoch, but an object that cannot be put in time, the control plane owns it', async () => {
    expect(await claim({}, { epochAfterMs: 300, register: hangs })).toMatchObject({ owner: 'cp', atMs: 800 });
    expect(log.events).toEqual(['ownership.given-up']);
    expect(settledOwners).toEqual(['cp']);
  });

  test('a companion that gave an epoch at the last moment has time to put the object as well', async () => {
    const late = answersLate(clock, 150, { found: false, changed: true, states: {} });
    const owned = { owner: 'agent', atMs: 940, registered: 1 };
    expect(await claim({}, { epochAfterMs: 790, register: late })).toEqual(owned);
    expect(await claim({}, { epochAfterMs: 790, register: hangs })).toMatchObject({ owner: 'cp' });
  });

  test('an object that is refused costs no wait', async () => {
    const refused = await claim({}, { epochAfterMs: 300, register: fails('ENDPOINT_REJECTED') });
    expect(refused).toMatchObject({ owner: 'cp', atMs: 300 });
  });

  test('an operator who asked for the agent by name gets it without an epoch as well', async () => {
    expect(await claim({ insistent: true })).toEqual({ owner: 'agent', atMs: 400, registered: 1 });
    expect(log.events).toEqual(['companion.missed', 'dataplane.registered']);
  });

  test.for<Owner>(['cp', 'external'])(
    'owned by %s it waits for an epoch as well, and puts nothing',
    async (owner) => {
      expect(await claim({ owner }, { epochAfterMs: 300 })).toEqual({ owner, atMs: 300, registered: 0 });
      expect(settledOwners).toEqual([owner]);
    },
  );

  test.for<Owner>(['cp', 'external'])(
    'owned by %s without an epoch: the same, and it says so',
    async (owner) => {
      expect(await claim({ owner })).toEqual({ owner, atMs: 800, registered: 0 });
      expect(log.events).toEqual(['companion.missed']);
    },
  );

  test('without a companion there is nothing to wait for', async () => {
    expect(await claim({}, { companion: false })).toEqual({ owner: 'agent', atMs: 0, registered: 1 });
    expect(await claim({ owner: 'cp' }, { companion: false })).toEqual({
      owner: 'cp',
      atMs: 0,
      registered: 0,
    });
  });

  test('a stop that comes first ends the wait, and says nothing', async () => {
    clock.after(100, () => {
      stopping.abort(new Error('stop'));
    });
    expect(await claim({})).toMatchObject({ atMs: 100, registered: 0 });
    expect(log.events).toEqual([]);
  });
});
