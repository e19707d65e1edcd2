import { describe, expect, test } from 'vitest';

import {
  HostState,
  judgeTakeover,
  selectOwnRuns,
  stateFileName,
  type ProcessRef,
  type Takeover,
} from '../../../../agent/state/host-state.pure.ts';
import { hostState } from '../../../support/host-state.ts';

const AGENT: ProcessRef = { pid: 100, startTicks: 1 };
const KUMA_DP: ProcessRef = { pid: 200, startTicks: 2 };

function isAmong(known: readonly ProcessRef[]): (process: ProcessRef) => boolean {
  return (process) =>
    known.some(({ pid, startTicks }) => pid === process.pid && startTicks === process.startTicks);
}

const STATE = hostState({
  address: '10.0.0.1',
  endpoints: ['https://cp:5682'],
  kumaDp: KUMA_DP,
  deregistrationDelayMs: 10_000,
});

describe('judgeTakeover()', () => {
  test.for<{
    readonly name: string;
    readonly state: Partial<HostState>;
    readonly bootId?: string;
    readonly alive?: readonly ProcessRef[];
    readonly ends?: readonly ProcessRef[];
    readonly takeover: Takeover;
  }>([
    {
      name: 'agent and kuma-dp are dead: the work is to be done',
      state: {},
      takeover: { verdict: 'deregister', kumaDp: 'gone' },
    },
    {
      name: 'the agent died between asking to leave and finishing its stop',
      state: { phase: 'leaving' },
      takeover: { verdict: 'deregister', kumaDp: 'gone' },
    },
    {
      name: 'the agent ended without having deregistered',
      state: { phase: 'ended' },
      takeover: { verdict: 'deregister', kumaDp: 'gone' },
    },
    {
      name: 'the agent died after the deregistration, before it could confirm',
      state: { phase: 'leaving', deregistered: true },
      takeover: { verdict: 'deregister', kumaDp: 'gone' },
    },
    {
      name: 'the agent died before it started kuma-dp',
      state: { kumaDp: undefined },
      takeover: { verdict: 'deregister', kumaDp: 'gone' },
    },
    {
      name: 'another process has the pid of the agent by now',
      state: {},
      alive: [{ ...AGENT, startTicks: 9 }],
      takeover: { verdict: 'deregister', kumaDp: 'gone' },
    },
    {
      name: 'everything was done',
      state: { phase: 'ended', deregistered: true },
      takeover: { verdict: 'done', reason: 'it was deregistered already' },
    },
    {
      name: 'everything was done, before this host booted',
      state: { phase: 'ended', deregistered: true },
      bootId: 'boot-2',
      takeover: { verdict: 'done', reason: 'it was deregistered already' },
    },
    {
      name: 'the dataplane was never ours to delete',
      state: { mayDelete: false },
      takeover: { verdict: 'done', reason: 'the dataplane was applied by an operator and stays' },
    },
    {
      name: 'written before this host booted',
      state: {},
      bootId: 'boot-2',
      takeover: {
        verdict: 'refuse',
        reason: 'the file is from before this host booted',
      },
    },
    {
      name: 'its agent still runs',
      state: {},
      alive: [AGENT],
      takeover: { verdict: 'refuse', reason: 'its agent still runs (pid 100) and will deregister it' },
    },
    {
      name: 'its agent still runs although it said that it is leaving',
      state: { phase: 'leaving' },
      alive: [AGENT, KUMA_DP],
      takeover: { verdict: 'refuse', reason: 'its agent still runs (pid 100) and will deregister it' },
    },
    {
      name: 'its kuma-dp outlived the agent',
      state: {},
      alive: [KUMA_DP],
      takeover: { verdict: 'refuse', reason: 'its kuma-dp still runs (pid 200)' },
    },
    {
      name: 'its kuma-dp outlived the agent, and systemd kills it next',
      state: {},
      alive: [KUMA_DP],
      ends: [KUMA_DP],
      takeover: { verdict: 'deregister', kumaDp: 'ending' },
    },
    {
      name: 'its agent still runs in the service that ends',
      state: {},
      alive: [AGENT, KUMA_DP],
      ends: [AGENT, KUMA_DP],
      takeover: { verdict: 'refuse', reason: 'its agent still runs (pid 100) and will deregister it' },
    },
  ])('$name: $takeover.verdict', ({ state, bootId = 'boot-1', alive = [], ends = [], takeover }) => {
    const host = { bootId, isAlive: isAmong(alive), endsWithUs: isAmong(ends) };
    expect(judgeTakeover({ ...STATE, ...state }, host)).toEqual(takeover);
  });
});

describe('HostState', () => {
  test('survives being written and read', () => {
    expect(HostState.parse(JSON.parse(JSON.stringify(STATE)))).toEqual(STATE);
  });

  test.for([
    { name: 'another schema', state: { ...STATE, schema: 2 } },
    { name: 'no boot id', state: { ...STATE, bootId: undefined } },
    { name: 'a phase that does not exist', state: { ...STATE, phase: 'draining' } },
    { name: 'half a process', state: { ...STATE, agent: { pid: 1 } } },
    { name: 'an array', state: [] },
    { name: 'nothing', state: undefined },
  ])('does not take $name for a state', ({ state }) => {
    expect(HostState.safeParse(state).success).toBe(false);
  });
});

describe('stateFileName()', () => {
  test.for([
    { key: { proxyType: 'dataplane', mesh: 'default', name: 'web-1' }, file: 'dataplane~default~web-1.json' },
    { key: { proxyType: 'ingress', mesh: '', name: 'zi' }, file: 'ingress~~zi.json' },
    { key: { proxyType: 'dataplane', mesh: 'a/b', name: '../x' }, file: 'dataplane~a%2Fb~..%2Fx.json' },
    { key: { proxyType: 'dataplane', mesh: 'm', name: 'a_b c' }, file: 'dataplane~m~a_b%20c.json' },
  ])('$file', ({ key, file }) => {
    expect(stateFileName(key)).toBe(file);
  });
});

describe('selectOwnRuns()', () => {
  const found = ['this', 'another', undefined].map((invocation) => ({ state: { ...STATE, invocation } }));
  test.for([
    { invocation: 'this', own: ['this', undefined] },
    { invocation: 'a newer one', own: [undefined] },
    { invocation: undefined, own: ['this', 'another', undefined] },
  ])('in the service run "$invocation"', ({ invocation, own }) => {
    expect(selectOwnRuns(found, invocation).map(({ state }) => state.invocation)).toEqual(own);
  });
});
