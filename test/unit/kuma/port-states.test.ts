import { describe, expect, test } from 'vitest';

import { listeningPorts, rememberStates, stillOut } from '../../../kuma/port-states.ts';

describe('rememberStates()', () => {
  test('a NotReady port keeps the state that was remembered for it; a port that is gone is forgotten', () => {
    const before = { ':80': 'Ready', ':81': 'Ready' };
    expect(rememberStates(before, { ':80': 'NotReady', ':82': 'NotReady', ':83': 'Ignored' })).toEqual({
      ':80': 'Ready',
      ':82': 'NotReady',
      ':83': 'Ignored',
    });
  });
});

describe('stillOut()', () => {
  test('names the NotReady ports, except those that are wanted so', () => {
    const seen = { ':80': 'NotReady', ':81': 'NotReady', ':82': 'Ready' };
    expect(stillOut({ ':81': 'NotReady' }, seen)).toEqual([':80']);
  });
});

describe('listeningPorts()', () => {
  test('are those of inbounds and listeners, at their own address or the address of the dataplane', () => {
    const resource = {
      type: 'Dataplane',
      name: 'web-1',
      networking: {
        address: '10.0.0.1',
        inbound: [{ port: 80 }, { port: 81, address: '10.0.0.9' }, {}],
        listeners: [{ port: 10_001 }],
        outbound: [{ port: 30_001 }],
      },
    };
    expect(listeningPorts(resource)).toEqual([
      { address: '10.0.0.1', port: 80 },
      { address: '10.0.0.9', port: 81 },
      { address: '10.0.0.1', port: 10_001 },
    ]);
  });

  test('are none for a gateway', () => {
    const gateway = { type: 'Dataplane', name: 'gw', networking: { address: '10.0.0.1' } };
    expect(listeningPorts(gateway)).toEqual([]);
    expect(listeningPorts({ type: 'Dataplane', name: 'bare' })).toEqual([]);
  });
});
