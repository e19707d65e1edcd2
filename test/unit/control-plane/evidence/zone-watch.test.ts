import { describe, expect, test } from 'vitest';

import type { InstanceLook } from '../../../../control-plane/control-planes/instance-look.pure.ts';
import { deregistrarEvents } from '../../../../control-plane/events.ts';
import { ZoneWatch, type ZoneWatchDeps } from '../../../../control-plane/evidence/zone-watch.ts';
import type { InstanceRecord } from '../../../../control-plane/records.pure.ts';
import { DEFAULT_FACTS } from '../../../../kuma/control-plane.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { FakeLog } from '../../../support/fake-log.ts';

const silent = (url: string, problem = 'connect ECONNREFUSED'): InstanceLook => ({ url, seen: { problem } });
const answers = (url: string): InstanceLook => ({ url, seen: { facts: DEFAULT_FACTS } });

function watchOf({
  look,
  clock = new FakeClock(),
  log = new FakeLog(),
  noted = [],
}: {
  readonly look: () => readonly InstanceLook[];
  readonly clock?: FakeClock;
  readonly log?: FakeLog;
  readonly noted?: readonly InstanceRecord[];
}): ZoneWatch {
  return new ZoneWatch({
    clock,
    events: deregistrarEvents(log),
    controlPlanes: { look: () => Promise.resolve(look()) } as unknown as ZoneWatchDeps['controlPlanes'],
    store: {
      bindZone: () => Promise.resolve({ kind: 'bound' }),
      instances: () => Promise.resolve(noted),
      noteInstances: () => Promise.resolve(),
      nowMs: () => Promise.resolve(0),
    } as unknown as ZoneWatchDeps['store'],
    host: 'vm#0a0a0a0a',
    onReturned: () => {},
  });
}

async function eventsOf(...looks: readonly (readonly InstanceLook[])[]): Promise<readonly string[]> {
  const log = new FakeLog();
  const left = [...looks];
  const watch = watchOf({ log, look: () => left.shift() ?? [] });
  for (const _ of looks) await watch.look();
  return log.lines
    .filter(({ event }) => event.startsWith('control-plane.'))
    .map(({ level, event, fields }) => `${level} ${event} ${String(fields?.['url'])}`);
}

test('a control plane that never answered causes one warning, after the first look', async () => {
  expect(await eventsOf([silent('a')], [silent('a')], [silent('a', 'another reason')])).toEqual([
    'warn control-plane.lost a',
  ]);
});

test('each on its own: one answers, the other never has', async () => {
  expect(await eventsOf([answers('a'), silent('b')], [answers('a'), silent('b')])).toEqual([
    'info control-plane.found a',
    'warn control-plane.lost b',
  ]);
});

test('one that answers later, and is lost again', async () => {
  expect(await eventsOf([silent('a')], [answers('a')], [silent('a')], [silent('a')])).toEqual([
    'warn control-plane.lost a',
    'info control-plane.found a',
    'warn control-plane.lost a',
  ]);
});

describe('an instance that a replica on another host has noted at the same address on loopback', () => {
  const URL = 'http://127.0.0.1:5681';

  async function standingOf(noted: string): Promise<{ ended: boolean; doubtful: boolean }> {
    const clock = new FakeClock();
    const watch = watchOf({
      clock,
      look: () => [{ url: URL, seen: { facts: { ...DEFAULT_FACTS, instanceId: 'vm-2' } } }],
      noted: [{ id: 'vm-1', url: noted, standing: 'named' }],
    });
    await watch.look();
    clock.advance(30_000);
    await watch.look();
    const { endedInstances, doubtfulInstances } = watch.surroundings;
    return { ended: endedInstances.has('vm-1'), doubtful: doubtfulInstances.has('vm-1') };
  }

  test.for([
    {
      host: 'vm#0b0b0b0b',
      is: { ended: false, doubtful: true },
      name: 'has not ended: both hosts are called vm',
    },
    { host: 'vm#0a0a0a0a', is: { ended: true, doubtful: false }, name: 'has ended if it was this host' },
    {
      host: 'vm',
      is: { ended: true, doubtful: false },
      name: 'has ended if the note is of an older version',
    },
  ])('$name', async ({ host, is }) => {
    expect(await standingOf(`${host} ${URL}`)).toEqual(is);
  });
});
