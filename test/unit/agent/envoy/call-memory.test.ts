import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import {
  callsSince,
  lookBefore,
  readTotals,
  rememberLook,
  type RememberedLook,
} from '../../../../agent/envoy/call-memory.pure.ts';
import type { Directions } from '../../../../agent/envoy/envoy-activity.pure.ts';

const DIRECTIONS: Directions = {
  filters: new Map([
    ['backend', 'outbound'],
    ['localhost_8080', 'inbound'],
    ['_kuma_dynconf', 'own'],
    ['database', 'outbound'],
  ]),
  listeners: new Map([
    ['127.0.0.1_30001', { direction: 'outbound', name: 'outbound:127.0.0.1:30001' }],
    ['10.0.0.1_80', { direction: 'inbound', name: 'inbound:10.0.0.1:80' }],
  ]),
};

function look(totals: Readonly<Record<string, number>>, atMs = 0): RememberedLook {
  return { atMs, totals: new Map(Object.entries(totals)) };
}

describe('readTotals()', () => {
  test('keeps what has counted something, once for each listener and filter', () => {
    const stats = [
      'http.admin.downstream_rq_total: 17',
      'http.backend.downstream_rq_active: 3',
      'http.backend.downstream_rq_total: 40',
      'http.backend.downstream_cx_total: 4',
      'http.idle.downstream_rq_total: 0',
      'listener.127.0.0.1_30001.downstream_cx_total: 4',
      'listener.127.0.0.1_30001.worker_0.downstream_cx_total: 4',
      'tcp.database.downstream_cx_rx_bytes_total: 4711',
    ];
    expect(Object.fromEntries(readTotals(stats.join('\n')))).toEqual({
      'http.backend': 40,
      'listener.127.0.0.1_30001': 4,
      'tcp.database': 4_711,
    });
  });
});

describe('callsSince()', () => {
  test.for([
    { name: 'nothing has grown', now: { 'http.backend': 5 }, calls: 0, moved: false },
    { name: 'requests of the application', now: { 'http.backend': 7 }, calls: 2, moved: false },
    { name: 'connections of it', now: { 'listener.127.0.0.1_30001': 1 }, calls: 1, moved: false },
    {
      name: 'an unknown listener',
      now: { 'listener.0.0.0.0_15001': 2 },
      calls: 2,
      moved: false,
    },
    {
      name: 'requests of peers',
      now: { 'http.localhost_8080': 9, 'listener.10.0.0.1_80': 3 },
      calls: 0,
      moved: false,
    },
    { name: "kuma-dp's own", now: { 'http._kuma_dynconf': 100 }, calls: 0, moved: false },
    { name: 'bytes of a database', now: { 'tcp.database': 4_711 }, calls: 0, moved: true },
    { name: 'an Envoy that counts from zero again', now: { 'http.backend': 3 }, calls: 3, moved: false },
  ])('$name', ({ now, calls, moved }) => {
    expect(callsSince(look({ 'http.backend': 5 }), look(now).totals, DIRECTIONS)).toEqual({ calls, moved });
  });

  test('without an earlier look everything is since then', () => {
    const { totals } = look({ 'http.backend': 5, 'tcp.database': 1 });
    expect(callsSince(undefined, totals, DIRECTIONS)).toEqual({ calls: 5, moved: true });
  });
});

describe('rememberLook() and lookBefore()', () => {
  test('there is always a look that is old enough, once one was, and few are kept', () => {
    const steps = fc.array(fc.integer({ min: 1_000, max: 20_000 }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(steps, (pauses) => {
        let looks: readonly RememberedLook[] = [];
        let nowMs = 0;
        const all: number[] = [];
        for (const pauseMs of pauses) {
          nowMs += pauseMs;
          all.push(nowMs);
          looks = rememberLook(looks, look({}, nowMs), 30_000);
          expect(lookBefore(looks, nowMs, 30_000)?.atMs).toBe(all.findLast((atMs) => nowMs - atMs >= 30_000));
          expect(looks.length).toBeLessThanOrEqual(32);
        }
      }),
    );
  });
});
