import { describe, expect, test } from 'vitest';

import {
  GUARDS,
  judgeDeletion,
  type DeletionCase,
  type Guard,
  type Judgement,
} from '../../../../control-plane/evidence/guards.pure.ts';
import {
  AROUND,
  BROUGHT,
  CLEAR,
  DELETE,
  GRACE_MS,
  MINE,
  SWEEP_AFTER_MS,
  THEIRS,
  inbound,
  shown,
  stream,
  wait,
  type CaseRow,
} from './cases.ts';

const JUST_UP = 'the control plane or the companion has just started';

const NOT_READY = { inbound: [inbound('web', { state: 'NotReady' })] };

function refuse(guard: Guard, reason: string): Judgement {
  return { verdict: 'refuse', guard, reason };
}

const CAUSES = ['requested', 'fallback', 'sweep'] as const;

test.for(CAUSES)('%s: what no guard holds is deleted', (cause) => {
  expect(judgeDeletion(CLEAR[cause])).toEqual(DELETE);
});

test('every guard has a sentence that says what it is', () => {
  expect(Object.values(GUARDS).filter((sentence) => sentence.length > 20)).toHaveLength(10);
});

describe.for(CAUSES)('judgeDeletion() of what is %s', (cause) => {
  const clear = CLEAR[cause];

  test.for([
    { mode: 'zone', held: false },
    { mode: 'standalone', held: false },
    { mode: undefined, held: false },
    { mode: 'global', held: true },
    { mode: 'federated', held: true },
  ])('a control plane in mode $mode: held $held', ({ mode, held }) => {
    expect(judgeDeletion({ ...clear, around: { ...clear.around, mode } })).toEqual(
      held ? wait('not-zone-cp', `this is a ${mode} control plane`, 5_000) : DELETE,
    );
  });
});

describe.for(['requested', 'fallback'] as const)('whose object it is: %s', (cause) => {
  const clear = CLEAR[cause];
  const { subscriptions } = clear.stored;

  test.for<{ readonly name: string; readonly stored: DeletionCase['stored']; readonly reason?: string }>([
    { name: 'our own label', stored: shown({ subscriptions, labels: MINE }) },
    { name: 'no label, our address', stored: shown({ subscriptions }) },
    {
      name: 'the label of another',
      stored: shown({ subscriptions, labels: THEIRS }),
      reason: 'it carries another incarnation: theirs',
    },
    {
      name: 'another address',
      stored: shown({ subscriptions, networking: { address: '10.0.0.2' } }),
      reason: 'it has another address: 10.0.0.2 instead of 10.0.0.1',
    },
  ])('$name', ({ stored, reason }) => {
    expect(judgeDeletion({ ...clear, stored })).toEqual(
      reason === undefined ? DELETE : refuse('foreign-incarnation', reason),
    );
  });

  test.for([
    { predecessor: 'theirs', held: false },
    { predecessor: 'others', held: true },
  ])('the label of one that is over is not foreign: $predecessor, held $held', ({ predecessor, held }) => {
    const stored = shown({ subscriptions, labels: THEIRS });
    expect(judgeDeletion({ ...clear, stored, predecessors: new Set([predecessor]) })).toEqual(
      held ? refuse('foreign-incarnation', 'it carries another incarnation: theirs') : DELETE,
    );
  });

  test('where no incarnation is known, no label is foreign', () => {
    const record = { ...clear.record, incarnation: '' };
    expect(judgeDeletion({ ...clear, record, stored: shown({ subscriptions, labels: THEIRS }) })).toEqual(
      DELETE,
    );
  });
});

/** Its control plane crashed, and left its stream open. */
const GHOST = shown({ subscriptions: [stream('cp-old', 60_000)] });

describe('lifecycle-managed', () => {
  const HELD = refuse('not-lifecycle-managed', 'neither a control plane nor an agent created it');
  const { subscriptions } = CLEAR.sweep.stored;

  test('a fallback deletes nothing that its agent would not delete', () => {
    const record = { ...CLEAR.fallback.record, deletable: false };
    expect(judgeDeletion({ ...CLEAR.fallback, record })).toEqual(HELD);
  });

  test('a departure request is enough, whichever run put it', () => {
    const record = { ...CLEAR.requested.record, deletable: false };
    expect(judgeDeletion({ ...CLEAR.requested, record })).toEqual(DELETE);
  });

  test.for([
    { name: 'neither', stored: shown({ subscriptions }), judgement: HELD },
    {
      name: 'its kuma-dp brought it',
      stored: shown({ subscriptions, metadata: BROUGHT }),
      judgement: DELETE,
    },
    { name: 'an agent labelled it', stored: shown({ subscriptions, labels: THEIRS }), judgement: DELETE },
  ])('a sweep of what has as a mark: $name', ({ stored, judgement }) => {
    expect(judgeDeletion({ ...CLEAR.sweep, stored })).toEqual(judgement);
  });
});

describe('a requested departure', () => {
  const GONE: Partial<DeletionCase> = { missingMs: 60_000, pendingMs: 60_000 };
  const QUIET_MS = GRACE_MS + 30_000;
  const CAME = 'its object or streams changed after its agent had left: unchanged for';

  test.for<CaseRow>([
    {
      name: 'while its agent is attached, its own stream proves nothing, however young',
      given: { stored: shown({ subscriptions: [stream('cp-now', 10)], writtenMs: 10 }) },
      judgement: DELETE,
    },
    {
      name: 'its agent is gone, and its stream and its object are from before',
      given: { ...GONE },
      judgement: DELETE,
    },
    {
      name: 'its agent is gone, and a ghost from before is left at an instance that is gone',
      given: { ...GONE, stored: shown({ subscriptions: [stream('cp-old', 63_000)] }) },
      judgement: DELETE,
    },
    {
      name: 'its agent is gone, and a stream began since',
      given: { ...GONE, stored: shown({ subscriptions: [stream('cp-now', 61_000)] }) },
      judgement: wait('subscription-online', 'connected to cp-now', 5_000),
    },
    {
      name: 'its agent is gone, and the object was written since',
      given: { ...GONE, stored: shown({ writtenMs: 1_000 }) },
      judgement: wait('evidence-too-young', `${CAME} 1 s of 45 s`, 44_000),
    },
    {
      name: 'written in the two seconds that clocks may differ',
      given: { ...GONE, stored: shown({ writtenMs: 62_000 }), around: { ...AROUND, steadyMs: 61_000 } },
      judgement: DELETE,
    },
    {
      name: 'written since, but it has been quiet for the grace and a reconnect backoff',
      given: { ...GONE, stored: shown({ writtenMs: QUIET_MS }) },
      judgement: DELETE,
    },
    {
      name: 'written since, by its own agent, as the label says',
      given: { ...GONE, stored: shown({ writtenMs: 1_000, labels: MINE }) },
      judgement: DELETE,
    },
    {
      name: 'a stream that began and ended since: its dataplane may connect again',
      given: { ...GONE, stored: shown({ subscriptions: [stream('cp-now', 50_000, 10_000)] }) },
      judgement: wait('evidence-too-young', `${CAME} 10 s of 45 s`, 35_000),
    },
    {
      name: 'the same, of an object that its own agent labelled',
      given: { ...GONE, stored: shown({ labels: MINE, subscriptions: [stream('cp-now', 50_000, 10_000)] }) },
      judgement: DELETE,
    },
    {
      name: 'the same, long ago',
      given: { ...GONE, stored: shown({ subscriptions: [stream('cp-now', 50_000, QUIET_MS)] }) },
      judgement: DELETE,
    },
    {
      name: 'a ghost that began since, right after the control plane came back',
      given: {
        ...GONE,
        stored: shown({ subscriptions: [stream('cp-old', 50_000)] }),
        around: { ...AROUND, steadyMs: QUIET_MS - 1, upMs: 3_600_000 },
      },
      judgement: wait('probation', JUST_UP, 1),
    },
    {
      name: 'a ghost that began since, and no dataplane connected for long enough',
      given: {
        ...GONE,
        stored: shown({ subscriptions: [stream('cp-old', 50_000)] }),
        around: { ...AROUND, steadyMs: QUIET_MS, upMs: 3_600_000 },
      },
      judgement: DELETE,
    },
    {
      name: 'a ghost of its own from before, right after the control plane came back',
      given: {
        ...GONE,
        stored: shown({ subscriptions: [stream('cp-old', 63_000)] }),
        around: { ...AROUND, steadyMs: 0, upMs: 3_600_000 },
      },
      judgement: DELETE,
    },
    {
      name: 'requested before this process was up: the clock may have been set, so nothing is from before',
      given: { ...GONE, around: { ...AROUND, upMs: 60_000 } },
      judgement: wait('subscription-online', 'connected to cp-now', 5_000),
    },
    {
      name: 'requested a moment after this process was up',
      given: { ...GONE, around: { ...AROUND, upMs: 60_001 } },
      judgement: DELETE,
    },
    {
      name: 'without the control plane’s clock nothing is from before, and nothing is quiet',
      given: { ...GONE, clockMs: undefined, stored: shown() },
      judgement: wait('evidence-too-young', `${CAME} 0 s of 45 s`, 45_000),
    },
    {
      name: 'a time that is none',
      given: {
        ...GONE,
        stored: { ...shown(), creationTime: 'yesterday', modificationTime: undefined },
      },
      judgement: wait('evidence-too-young', `${CAME} 0 s of 45 s`, 45_000),
    },
    {
      name: 'no time at all',
      given: { ...GONE, stored: { ...shown(), creationTime: undefined, modificationTime: undefined } },
      judgement: wait('evidence-too-young', `${CAME} 0 s of 45 s`, 45_000),
    },
  ])('$name', ({ given, judgement }) => {
    expect(judgeDeletion({ ...CLEAR.requested, ...given })).toEqual(judgement);
  });
});

describe('a fallback', () => {
  test.for<CaseRow>([
    {
      name: 'its agent is attached again',
      given: { missingMs: undefined },
      judgement: wait('subscription-online', 'its agent is attached', 5_000),
    },
    {
      name: 'its agent has been missing for less than the grace',
      given: { missingMs: GRACE_MS - 1 },
      judgement: wait('evidence-too-young', 'silent for 15 s of 15 s', 1),
    },
    {
      name: 'a clock that was set back: it counts from nothing',
      given: { missingMs: -3_600_000 },
      judgement: wait('evidence-too-young', 'silent for 0 s of 15 s', GRACE_MS),
    },
    {
      name: 'it changed within the grace, whatever a clock says',
      given: { missingMs: 3_600_000, unchangedMs: GRACE_MS - 2_000 },
      judgement: wait('evidence-too-young', 'silent for 13 s of 15 s', 2_000),
    },
    {
      name: 'the control plane is only just up',
      given: { around: { ...AROUND, steadyMs: GRACE_MS - 1 } },
      judgement: wait('probation', JUST_UP, 1),
    },
    {
      name: 'the control plane’s clock was set back, and this process has seen it offline for the grace',
      given: { unchangedMs: GRACE_MS, stored: shown({ subscriptions: [stream('cp-now', 60_000, -1e6)] }) },
      judgement: DELETE,
    },
    {
      name: 'it is connected',
      given: { stored: shown({ subscriptions: [stream('cp-now', 60_000)] }) },
      judgement: wait('subscription-online', 'connected to cp-now', 5_000),
    },
    {
      name: 'an older stream of it is connected',
      given: {
        stored: shown({ subscriptions: [stream('cp-now', 60_000), stream('cp-now', 50_000, 40_000)] }),
      },
      judgement: wait('subscription-online', 'connected to cp-now', 5_000),
    },
    {
      name: 'it is connected to an instance that does not say who it is',
      given: { stored: shown({ subscriptions: [stream(undefined, 60_000)] }) },
      judgement: wait('subscription-online', 'connected to some instance', 5_000),
    },
    {
      name: 'a ghost at an instance that is gone, and inbounds that refuse',
      given: { stored: GHOST, isRefused: true },
      judgement: DELETE,
    },
    {
      name: 'a ghost at an instance that is gone: Envoy may still be about to connect',
      given: { stored: GHOST, isRefused: false },
      judgement: wait('probation', 'the control plane or the companion has just started', 30_000),
    },
    {
      name: 'a ghost, while a control plane is silent',
      given: { stored: GHOST, around: { ...AROUND, silentControlPlanes: 1 } },
      judgement: wait(
        'subscription-online',
        'connected to an instance that may live: not every control plane answers',
        5_000,
      ),
    },
    {
      name: 'a ghost, while no control plane says who it is',
      given: { stored: GHOST, around: { ...AROUND, liveInstances: new Set() } },
      judgement: wait(
        'subscription-online',
        'connected to an instance that may live: not every control plane answers',
        5_000,
      ),
    },
    {
      name: 'its last stream ended with its control plane: Envoy may still be about to connect',
      given: { stored: shown({ subscriptions: [stream('cp-old', 60_000, 50_000)] }) },
      judgement: wait('probation', 'the control plane or the companion has just started', 30_000),
    },
    {
      name: 'what is ended is ended, though a control plane is silent',
      given: { around: { ...AROUND, silentControlPlanes: 1 } },
      judgement: DELETE,
    },
    {
      name: 'without the control plane’s clock the age is unknown',
      given: { clockMs: undefined },
      judgement: wait('unknown-insight', 'Kuma does not say since when it is offline', 5_000),
    },
    {
      name: 'a stream that never began',
      given: { stored: shown({ subscriptions: [{ id: 's' }] }) },
      judgement: wait('unknown-insight', 'Kuma does not say since when it is offline', 5_000),
    },
  ])('$name', ({ given, judgement }) => {
    expect(judgeDeletion({ ...CLEAR.fallback, ...given })).toEqual(judgement);
  });
});

describe('a fallback of what was never seen connected', () => {
  const TOO_YOUNG = wait('evidence-too-young', 'silent for 15 s of 600 s', SWEEP_AFTER_MS - GRACE_MS);

  test.for<CaseRow>([
    {
      name: 'an agent put it, and no peer is told of it',
      given: { stored: shown({ labels: MINE, networking: NOT_READY }) },
      judgement: DELETE,
    },
    {
      name: 'the same with listeners',
      given: {
        stored: shown({ labels: MINE, networking: { listeners: [{ port: 1, state: 'NotReady' }] } }),
      },
      judgement: DELETE,
    },
    {
      name: 'one of its listeners is ready',
      given: {
        stored: shown({ labels: MINE, networking: { ...NOT_READY, listeners: [{ port: 1 }] } }),
      },
      judgement: TOO_YOUNG,
    },
    {
      name: 'it has nothing that could be ready',
      given: { stored: shown({ labels: MINE, networking: {} }) },
      judgement: TOO_YOUNG,
    },
    {
      name: 'it has no networking',
      given: { stored: { ...shown({ labels: MINE }), networking: undefined } },
      judgement: TOO_YOUNG,
    },
    {
      name: 'no agent put it',
      given: { stored: shown({ networking: NOT_READY }) },
      judgement: TOO_YOUNG,
    },
    {
      name: 'it is ready, and nothing was heard of it for as long as a sweep waits',
      given: {
        stored: shown(),
        missingMs: SWEEP_AFTER_MS,
        unchangedMs: SWEEP_AFTER_MS,
        around: { ...AROUND, steadyMs: SWEEP_AFTER_MS },
      },
      judgement: DELETE,
    },
    {
      name: 'the same, but the control plane has not been up for as long',
      given: {
        stored: shown(),
        missingMs: SWEEP_AFTER_MS,
        unchangedMs: SWEEP_AFTER_MS,
        around: { ...AROUND, steadyMs: SWEEP_AFTER_MS - 1 },
      },
      judgement: wait('probation', JUST_UP, 1),
    },
    {
      name: 'the same, where a control plane records no streams at all',
      given: {
        stored: shown({ metadata: BROUGHT }),
        missingMs: SWEEP_AFTER_MS,
        unchangedMs: SWEEP_AFTER_MS,
        around: { ...AROUND, steadyMs: SWEEP_AFTER_MS },
      },
      judgement: wait('unknown-insight', 'Kuma has recorded no stream of it', 5_000),
    },
  ])('$name', ({ given, judgement }) => {
    expect(judgeDeletion({ ...CLEAR.fallback, around: AROUND, ...given })).toEqual(judgement);
  });
});

describe('a sweep', () => {
  const NEEDED_MS = GRACE_MS + 30_000;

  test.for<CaseRow>([
    {
      name: 'it is connected: that ends the sweep',
      given: { stored: shown({ metadata: BROUGHT, subscriptions: [stream('cp-now', 60_000)] }) },
      judgement: refuse('subscription-online', 'connected to cp-now'),
    },
    {
      name: 'it may be connected',
      given: {
        stored: shown({ metadata: BROUGHT, subscriptions: [stream('cp-old', 60_000)] }),
        around: { ...AROUND, silentControlPlanes: 1 },
      },
      judgement: wait(
        'subscription-online',
        'connected to an instance that may live: not every control plane answers',
        5_000,
      ),
    },
    {
      name: 'a ghost',
      given: { stored: shown({ metadata: BROUGHT, subscriptions: [stream('cp-old', 60_000)] }) },
      judgement: DELETE,
    },
    {
      name: 'a ghost right after the control plane came back: Envoy may still be about to connect',
      given: {
        stored: shown({ metadata: BROUGHT, subscriptions: [stream('cp-old', 60_000)] }),
        around: { ...AROUND, steadyMs: NEEDED_MS - 1 },
      },
      judgement: wait('probation', JUST_UP, 1),
    },
    {
      name: 'it changed within the grace and a reconnect backoff',
      given: { unchangedMs: NEEDED_MS - 1 },
      judgement: wait('evidence-too-young', 'silent for 45 s of 45 s', 1),
    },
    {
      name: 'it has not been offline for long enough',
      given: {
        stored: shown({ metadata: BROUGHT, subscriptions: [stream('cp-now', 1e6, SWEEP_AFTER_MS - 1_000)] }),
      },
      judgement: wait('evidence-too-young', 'offline for 599 s of 600 s', 1_000),
    },
    {
      name: 'the control plane’s clock was set back, and this process has not seen it offline for long enough',
      given: {
        stored: shown({ metadata: BROUGHT, subscriptions: [stream('cp-now', 1e6, -1e6)] }),
        unchangedMs: SWEEP_AFTER_MS - 1_000,
        around: { ...AROUND, steadyMs: 1e9 },
      },
      judgement: wait('evidence-too-young', 'offline for 599 s of 600 s', 1_000),
    },
    {
      name: 'the same, and it has',
      given: {
        stored: shown({ metadata: BROUGHT, subscriptions: [stream('cp-now', 1e6, -1e6)] }),
        unchangedMs: SWEEP_AFTER_MS,
        around: { ...AROUND, steadyMs: 1e9 },
      },
      judgement: DELETE,
    },
    {
      name: 'no stream of it was recorded: that ends the sweep, however long it has been so',
      given: { stored: shown({ labels: MINE }), unchangedMs: 1e9, around: { ...AROUND, steadyMs: 1e9 } },
      judgement: refuse('unknown-insight', 'Kuma has recorded no stream of it'),
    },
    {
      name: 'the same, of what an agent put and no peer was ever told of',
      given: {
        stored: shown({ labels: MINE, networking: NOT_READY }),
        unchangedMs: SWEEP_AFTER_MS,
        around: { ...AROUND, steadyMs: SWEEP_AFTER_MS },
      },
      judgement: DELETE,
    },
    {
      name: 'the same, but for a moment less',
      given: {
        stored: shown({ labels: MINE, networking: NOT_READY }),
        unchangedMs: SWEEP_AFTER_MS - 1,
        around: { ...AROUND, steadyMs: SWEEP_AFTER_MS },
      },
      judgement: wait('evidence-too-young', 'silent for 600 s of 600 s', 1),
    },
    {
      name: 'the age is unknown: that ends the sweep',
      given: { clockMs: undefined },
      judgement: refuse('unknown-insight', 'Kuma does not say since when it is offline'),
    },
  ])('$name', ({ given, judgement }) => {
    expect(judgeDeletion({ ...CLEAR.sweep, ...given })).toEqual(judgement);
  });
});
