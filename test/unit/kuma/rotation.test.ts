import { describe, expect, test } from 'vitest';

import type { DataplaneResource } from '../../../kuma/dataplane.ts';
import { portStates, rememberStates, stillOut, turned } from '../../../kuma/rotation.ts';

type Port = NonNullable<NonNullable<DataplaneResource['networking']>['inbound']>[number];

function dataplane(...inbound: readonly Port[]): DataplaneResource {
  return {
    type: 'Dataplane',
    mesh: 'default',
    name: 'web-1',
    networking: { address: '10.0.0.1', inbound: [...inbound] },
  };
}

const HDS_ON = { turn: 'in', states: {}, leaveProbed: true } as const;

describe('turned()', () => {
  test('out: what is ready becomes NotReady, what says something else keeps it', () => {
    const stored = dataplane({ port: 80 }, { port: 81, state: 'Ready' }, { port: 82, state: 'Ignored' });
    const { resource, ...answer } = turned(stored, { turn: 'out' });
    expect(resource.networking?.inbound?.map(({ state }) => state)).toEqual([
      'NotReady',
      'NotReady',
      'Ignored',
    ]);
    expect(answer).toEqual({
      found: true,
      changed: true,
      states: { ':80': 'Ready', ':81': 'Ready', ':82': 'Ignored' },
    });
  });

  test('out twice: the same object, and nothing to put', () => {
    const { resource } = turned(dataplane({ port: 80 }), { turn: 'out' });
    const again = turned(resource, { turn: 'out' });
    expect(again.changed).toBe(false);
    expect(again.resource).toBe(resource);
  });

  test('in: each port becomes what it was, and what health checks wrote with it', () => {
    const stored = dataplane(
      { port: 80, state: 'NotReady', health: { ready: false } },
      { port: 81, state: 'NotReady' },
      { port: 82, state: 'NotReady', address: '10.0.0.2' },
    );
    const order = { turn: 'in', states: { ':80': 'Ready', ':81': 'NotReady' }, leaveProbed: false } as const;
    const { resource, changed } = turned(stored, order);
    expect(changed).toBe(true);
    expect(resource.networking?.inbound).toEqual([
      { port: 80, state: 'Ready', health: { ready: true } },
      { port: 81, state: 'NotReady' },
      { port: 82, state: 'Ready', address: '10.0.0.2' },
    ]);
  });

  test('in: a service probe decides about its own port while health checks are on, and only then', () => {
    const stored = dataplane({ port: 80, state: 'NotReady', serviceProbe: {} });
    expect(turned(stored, HDS_ON).changed).toBe(false);
    expect(turned(stored, { ...HDS_ON, leaveProbed: false }).changed).toBe(true);
  });

  test('the listeners of Kuma 3 have the same state, and an object without ports has none', () => {
    const zoneProxy: DataplaneResource = {
      type: 'Dataplane',
      name: 'z',
      networking: { listeners: [{ port: 9 }] },
    };
    expect(turned(zoneProxy, { turn: 'out' }).resource.networking?.listeners).toEqual([
      { port: 9, state: 'NotReady' },
    ]);
    expect(turned({ type: 'Dataplane', name: 'gw' }, { turn: 'out' })).toMatchObject({
      changed: false,
      states: {},
    });
  });

  test('look changes nothing', () => {
    const stored = dataplane({ port: 80 });
    expect(turned(stored, { turn: 'look' })).toMatchObject({ changed: false, resource: stored });
  });

  test('out and in again is what it was', () => {
    const stored = dataplane(
      { port: 80, state: 'Ready', health: { ready: true } },
      { port: 81, state: 'NotReady' },
    );
    const out = turned(stored, { turn: 'out' }).resource;
    expect(turned(out, { turn: 'in', states: portStates(stored), leaveProbed: false }).resource).toEqual(
      stored,
    );
  });
});

describe('what is remembered', () => {
  test('a port that is out already keeps what was remembered of it; one that is gone is forgotten', () => {
    const before = { ':80': 'Ready', ':81': 'Ready' };
    expect(rememberStates(before, { ':80': 'NotReady', ':82': 'NotReady', ':83': 'Ignored' })).toEqual({
      ':80': 'Ready',
      ':82': 'NotReady',
      ':83': 'Ignored',
    });
  });

  test('ports that are held back are named, those that were held back before are not', () => {
    const seen = { ':80': 'NotReady', ':81': 'NotReady', ':82': 'Ready' };
    expect(stillOut({ ':81': 'NotReady' }, seen)).toEqual([':80']);
  });
});
