import { describe, expect, test } from 'vitest';

import { unrecorded } from '../../../../control-plane/agents/fleet-reading.ts';
import {
  viewDataplane,
  viewDeparture,
  type DepartureNote,
} from '../../../../control-plane/page/fleet-view.pure.ts';
import type { DepartureRecord } from '../../../../control-plane/records.pure.ts';
import { recordOf } from '../../../support/fakes/dataplane-record.ts';

const KEY = { proxyType: 'dataplane', mesh: 'default', name: 'web-1' } as const;
const NOW_MS = 1_800_000_000_000;

const RECORD = recordOf({
  epoch: 7,
  address: '192.0.2.1',
  resource: '{"secret":true}',
  state: 'lost',
  sinceMs: NOW_MS - 20_000.4,
  lostAtMs: NOW_MS - 20_000.4,
  phase: 'running',
  dueAtMs: NOW_MS + 5_000.6,
  attempts: 2,
  guard: 'brake',
  reason: 'too many',
});

const DEPARTED: DepartureRecord = {
  key: KEY,
  epoch: 7,
  incarnation: 'one',
  cause: 'requested',
  outcome: 'deleted',
  guard: undefined,
  reason: 'deleted',
  attempts: 1,
  atMs: NOW_MS,
};

const TIMELINE = {
  totalMs: 3_000,
  steps: [{ step: 'settle', startMs: 0, durationMs: 3_000, outcome: 'waited' }],
};

describe('viewDataplane()', () => {
  test('one that is out of rotation has a state of its own, with what the witnesses said', () => {
    const lost = { ...RECORD, state: 'lost', reason: 'silent for 3 s of 15 s' } as const;
    const row = viewDataplane(lost, { reason: '10.0.0.1: refused, companion: refused' });
    expect(row.state).toBe('sidelined');
    expect(row.reason).toBe(
      'out of rotation (10.0.0.1: refused, companion: refused); silent for 3 s of 15 s',
    );
    expect(viewDataplane({ ...lost, state: 'leaving' }, { reason: '' }).state).toBe('leaving');
  });

  test('shows what holds it back and why, and of its resource the service alone', () => {
    expect(viewDataplane(RECORD)).toEqual({
      id: 'default/web-1',
      state: 'lost',
      service: '',
      address: '192.0.2.1',
      phase: 'running',
      incarnation: 'one',
      epoch: 7,
      replica: '',
      sinceMs: NOW_MS - 20_000,
      attempts: 2,
      guard: 'brake',
      reason: 'too many',
      dueAtMs: NOW_MS + 5_001,
    });
  });

  test.each([
    [
      '{"networking":{"inbound":[{"port":1,"tags":{"kuma.io/service":"web"}},{"tags":{"kuma.io/service":"b"}}]}}',
      'web',
    ],
    ['{"networking": {"gateway": {"tags": {"kuma.io/service" : "edge"}}}}', 'edge'],
    [String.raw`{"tags":{"kuma.io/service":"a\"b"}}`, String.raw`a\"b`],
    ['{"networking":{}}', ''],
    [undefined, ''],
  ])('the service of %s is "%s"', (resource, service) => {
    expect(viewDataplane({ ...RECORD, resourceHead: resource }).service).toBe(service);
  });

  test('nothing holds back an attached dataplane, whatever held it before', () => {
    const row = viewDataplane({ ...RECORD, state: 'attached', replica: 'cp-1', dueAtMs: undefined });
    expect(row).toMatchObject({ state: 'attached', replica: 'cp-1', guard: '', reason: '', dueAtMs: 0 });
  });

  test('one that is attached says why its loss would not be noticed at once', () => {
    const row = viewDataplane(
      { ...RECORD, state: 'attached' },
      undefined,
      'no other agent of the mesh looks',
    );
    expect(row.reason).toBe('a loss would not be noticed at once: no other agent of the mesh looks');
    expect(viewDataplane(RECORD, undefined, 'no other agent of the mesh looks').reason).toBe('too many');
  });

  test('an open stream is shown while the store cannot be asked', () => {
    const row = viewDataplane(
      unrecorded({ introduction: RECORD, epoch: undefined, phase: 'draining', leaving: true }),
    );
    expect(row).toEqual({
      id: 'default/web-1',
      state: 'leaving',
      service: '',
      address: '192.0.2.1',
      phase: 'draining',
      incarnation: 'one',
      epoch: 0,
      replica: '',
      sinceMs: 0,
      attempts: 0,
      guard: '',
      reason: '',
      dueAtMs: 0,
    });
  });
});

describe('viewDeparture()', () => {
  const beganAtMs = NOW_MS - 15_800;

  test.for<{
    readonly name: string;
    readonly record: Partial<DepartureRecord>;
    readonly note: DepartureNote | undefined;
    readonly steps: readonly (readonly [string, number])[];
    readonly totalMs: number;
  }>([
    { name: 'nothing is known of it', record: {}, note: undefined, steps: [], totalMs: 0 },
    {
      name: 'its agent reported the stop',
      record: {},
      note: { timeline: TIMELINE, beganAtMs },
      steps: [['settle', 3_000]],
      totalMs: 3_000,
    },
    {
      name: 'its agent has not reported yet',
      record: {},
      note: { beganAtMs: NOW_MS - 90 },
      steps: [['deregister', 90]],
      totalMs: 90,
    },
    {
      name: 'it fell silent',
      record: { cause: 'fallback' },
      note: { beganAtMs },
      steps: [['silent', 15_800]],
      totalMs: 15_800,
    },
    {
      name: 'it fell silent, and reported a stop that came to nothing',
      record: { cause: 'fallback' },
      note: { timeline: TIMELINE, beganAtMs },
      steps: [['silent', 15_800]],
      totalMs: 15_800,
    },
    {
      name: 'it was swept',
      record: { cause: 'sweep' },
      note: { beganAtMs },
      steps: [['offline', 15_800]],
      totalMs: 15_800,
    },
    {
      name: 'the clock of the store was set back meanwhile',
      record: { cause: 'fallback' },
      note: { beganAtMs: NOW_MS + 5 },
      steps: [['silent', 0]],
      totalMs: 0,
    },
  ])('draws it when $name', ({ record, note, steps, totalMs }) => {
    const view = viewDeparture({ ...DEPARTED, ...record }, note);
    expect([view.steps.map(({ step, durationMs }) => [step, durationMs]), view.totalMs]).toEqual([
      steps,
      totalMs,
    ]);
  });

  test('says how it ended', () => {
    const refused = {
      ...DEPARTED,
      outcome: 'refused',
      guard: 'newer-epoch',
      reason: 'it came back',
    } as const;
    expect(viewDeparture(refused)).toEqual({
      id: 'default/web-1',
      epoch: 7,
      incarnation: 'one',
      cause: 'requested',
      outcome: 'refused',
      guard: 'newer-epoch',
      reason: 'it came back',
      attempts: 1,
      atMs: NOW_MS,
      totalMs: 0,
      steps: [],
    });
  });
});
