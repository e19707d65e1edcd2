import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import {
  isSuspicious,
  judgeOutstanding,
  NOTHING_OUTSTANDING,
  noteCounters,
} from '../../../kernel/outstanding.ts';

const SILENT = { unacknowledged: 14, timer: 'retransmission', retransmissions: 3, probes: 0 } as const;

describe('what was written and is not known to be acknowledged', () => {
  const idle = { ...NOTHING_OUTSTANDING, bytesWritten: 18, bytesRead: 175 };

  test('is suspicious after 2 s, from the first look that saw it', () => {
    const written = noteCounters(idle, { bytesWritten: 30, bytesRead: 175 }, 2_000);
    expect(isSuspicious(written, 3_999)).toBe(false);
    expect(isSuspicious(written, 4_000)).toBe(true);
    const more = noteCounters(written, { bytesWritten: 50, bytesRead: 175 }, 4_000);
    expect(more.sinceMs, 'more of it does not make it younger').toBe(2_000);
  });

  test('is young again when data arrives, and not forgotten: the data may have crossed it', () => {
    const written = noteCounters(idle, { bytesWritten: 30, bytesRead: 175 }, 2_000);
    const heard = noteCounters(written, { bytesWritten: 30, bytesRead: 200 }, 4_000);
    expect(heard.sinceMs).toBe(4_000);
    expect(isSuspicious(heard, 6_000)).toBe(true);
  });

  test('is nothing on a connection that only reads', () => {
    expect(noteCounters(idle, { bytesWritten: 18, bytesRead: 9_000 }, 60_000).sinceMs).toBeUndefined();
  });
});

describe('a connection with outstanding data', () => {
  const outstanding = { bytesWritten: 30, bytesRead: 175, sinceMs: 0 };

  test.for([
    ['no row', undefined, 60_000, 'acknowledged'],
    ['all acknowledged', { ...SILENT, unacknowledged: 0 }, 60_000, 'acknowledged'],
    ['a peer that does not read', { ...SILENT, timer: 'other' }, 60_000, 'acknowledged'],
    ['three retransmissions, 5.9 s', SILENT, 5_900, 'wait'],
    ['three retransmissions, 6 s', SILENT, 6_000, 'dark'],
    ['two retransmissions over a slow link, 9 s', { ...SILENT, retransmissions: 2 }, 9_000, 'wait'],
    ['five retransmissions within a gap of 3.5 s', { ...SILENT, retransmissions: 5 }, 2_000, 'wait'],
    ['after four probes, 0.9 s', { ...SILENT, probes: 4 }, 900, 'wait'],
    ['after four probes, 1 s', { ...SILENT, probes: 4 }, 1_000, 'dark'],
    ['after one probe, 3.9 s', { ...SILENT, probes: 1 }, 3_900, 'wait'],
    ['after one probe, 4 s', { ...SILENT, probes: 1 }, 4_000, 'dark'],
    ['six retransmissions, seen late', { ...SILENT, retransmissions: 6 }, 2_000, 'dark'],
  ] as const)('%s', ([, row, nowMs, verdict]) => {
    expect(judgeOutstanding(outstanding, row, nowMs)).toBe(verdict);
  });

  test('is found dark within 10.2 s of its silence, whenever a write and the looks fall', () => {
    fc.assert(
      fc.property(fc.nat(5_999), fc.nat(1_999), (writtenMs, offsetMs) => {
        expect(darkAtMs(writtenMs, offsetMs)).toBeLessThanOrEqual(10_200);
      }),
    );
  });
});

/** When a host that fell silent at 0 is found, written to before keepalive gave it up, by looks every 2 s. */
function darkAtMs(writtenMs: number, offsetMs: number): number {
  let state = NOTHING_OUTSTANDING;
  const probes = [2_000, 3_000, 4_000, 5_000].filter((atMs) => atMs <= writtenMs).length;
  for (let nowMs = offsetMs; nowMs < 60_000; nowMs += 2_000) {
    state = noteCounters(state, { bytesWritten: nowMs < writtenMs ? 0 : 14, bytesRead: 0 }, nowMs);
    const resent = [200, 600, 1_400, 3_000, 6_200].filter((afterMs) => writtenMs + afterMs <= nowMs);
    const row = { ...SILENT, retransmissions: resent.length, probes };
    if (isSuspicious(state, nowMs) && judgeOutstanding(state, row, nowMs) === 'dark') return nowMs;
  }
  return Number.POSITIVE_INFINITY;
}
