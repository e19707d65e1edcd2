import { beforeEach, describe, expect, test } from 'vitest';

import { BoundedLog } from '../../../control-plane/bounded-log.ts';
import { deregistrarEvents } from '../../../control-plane/events.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { FakeLog } from '../../support/fake-log.ts';

const known = (name: string) => ({ key: { proxyType: 'dataplane', mesh: 'default', name } }) as const;

describe('log lines that callers cause by the thousand', () => {
  let clock: FakeClock;
  let log: FakeLog;
  let bounded: BoundedLog;

  beforeEach(() => {
    clock = new FakeClock();
    log = new FakeLog();
    bounded = new BoundedLog(log, clock);
  });

  const linesOf = (event: string) => log.lines.filter((line) => line.event === event);

  test('an address has one line a minute of each reason, others have theirs, and the rest is counted', () => {
    const events = deregistrarEvents(bounded);
    for (let at = 0; at < 2_000; at += 1)
      events.tokenRefused({ mesh: `mesh-${at}`, address: '192.0.2.66' }, 'it is expired');
    events.tokenRefused({ mesh: 'default', address: '192.0.2.1' }, 'it is revoked: 7');
    expect(linesOf('token.refused').map(({ fields }) => fields?.['address'])).toEqual([
      '192.0.2.66',
      '192.0.2.1',
    ]);
    clock.advance(60_000);
    expect(linesOf('token.refused').at(-1)).toMatchObject({ level: 'warn', fields: { count: 1_999 } });
    events.tokenRefused({ mesh: 'default', address: '192.0.2.66' }, 'it is expired');
    expect(linesOf('token.refused')).toHaveLength(4);
  });

  test('invented names have 50 lines in all, invented reasons of one address 20', () => {
    const events = deregistrarEvents(bounded);
    for (let at = 0; at < 1_000; at += 1)
      events.refused(`default/web-${at}`, 'PERMISSION_DENIED', 'for another');
    expect(linesOf('agent.refused')).toHaveLength(50);
    bounded.flush();
    expect(linesOf('agent.refused').at(-1)?.fields).toEqual({ count: 950 });
    expect(clock.armed).toBe(0);
    for (let at = 0; at < 1_000; at += 1)
      events.tokenRefused({ mesh: 'default', address: '192.0.2.66' }, `there is no key ${at}`);
    expect(linesOf('token.refused')).toHaveLength(20);
  });

  test('a fleet of ten thousand that stops at once leaves ten thousand reports, one that repeats itself two', () => {
    const events = deregistrarEvents(bounded);
    for (let at = 0; at < 10_000; at += 1) events.reported(known(`web-${at}`), {});
    for (let at = 0; at < 300; at += 1) events.reported(known('web-again'), {});
    expect(linesOf('agent.reported')).toHaveLength(10_002);
  });

  test('what callers do not cause is never left out', () => {
    for (let at = 0; at < 1_000; at += 1)
      bounded.info('departure.ended', 'deleted', { dataplane: 'default/web-1' });
    expect(linesOf('departure.ended')).toHaveLength(1_000);
    expect(clock.armed).toBe(0);
  });
});
