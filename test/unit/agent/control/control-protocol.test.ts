import { describe, expect, test } from 'vitest';

import {
  readAnswer,
  readRequest,
  socketPathOf,
  socketPathProblem,
  type AgentStatusReport,
} from '../../../../agent/control/control-protocol.pure.ts';
import type { HostState } from '../../../../agent/state/host-state.pure.ts';
import { lookAgainMs, settleLeftMs } from '../../../../agent/object/rotation-record.pure.ts';
import { selectState } from '../../../../agent/state/select-state.pure.ts';
import { judgeStatus, statusLines } from '../../../../agent/control/status-words.pure.ts';
import { hostState } from '../../../support/host-state.ts';

const STATE = hostState({
  endpoints: ['https://cp:5682'],
  deregistrationDelayMs: 0,
});

const AGENT: AgentStatusReport = {
  phase: 'running',
  standby: false,
  label: 'default/web-1',
  incarnation: 'run-1',
  lifecycle: 'cp',
  version: '1',
  upMs: 61_400,
  envoy: true,
  endpoints: [
    { url: 'https://a', reachable: true },
    { url: 'https://b', reachable: false },
    { url: 'https://c' },
  ],
  companion: { attached: true, epoch: 7 },
  settleMs: 2_250,
  rotation: 'in',
};

describe('the control protocol', () => {
  test.for([
    { line: '{"v":1,"ask":"status"}', valid: true },
    { line: '{"v":1,"ask":"drain","wait":true,"timeoutMs":1000}', valid: true },
    { line: '{"v":1,"ask":"drain"}', valid: false },
    { line: '{"v":1,"ask":"drain","wait":true,"timeoutMs":1e12}', valid: false },
    { line: '{"v":2,"ask":"status"}', valid: false },
    { line: 'GET / HTTP/1.1', valid: false },
  ])('takes $line for a request: $valid', ({ line, valid }) => {
    expect(typeof readRequest(line)).toBe(valid ? 'object' : 'string');
  });

  test('an invalid answer is no answer', () => {
    expect(readAnswer('{"v":1,"answer":"invalid","detail":"no"}')).toMatchObject({ detail: 'no' });
    expect(readAnswer('{}')).toBeUndefined();
    expect(readAnswer('')).toBeUndefined();
  });

  test('the socket is beside the state file, and 107 bytes are the most that its path may have', () => {
    expect(socketPathOf('/run/a/dataplane~m~n.json')).toBe('/run/a/dataplane~m~n.sock');
    expect(socketPathProblem('x'.repeat(107))).toBeUndefined();
    expect(socketPathProblem('x'.repeat(108))).toContain('longer than 107 bytes (108)');
    expect(socketPathProblem('ü'.repeat(54))).toContain('(108)');
  });
});

describe('selectState()', () => {
  const found = ['web-1', 'web-2'].map((name) => ({
    path: `/run/${name}`,
    state: { ...STATE, dataplane: { ...STATE.dataplane, name } },
  }));

  test.for([
    { wanted: {}, alive: ['web-1'], said: '/run/web-1' },
    { wanted: { name: 'web-2' }, alive: ['web-1'], said: '/run/web-2' },
    {
      wanted: {},
      alive: ['web-1', 'web-2'],
      said: 'several run on this host, choose one by --mesh and --name: default/web-1, default/web-2',
    },
    {
      wanted: { mesh: 'other' },
      alive: [],
      said: 'no such dataplane on this host; there is default/web-1, default/web-2',
    },
  ])('$wanted with $alive', ({ wanted, alive, said }) => {
    const living: readonly string[] = alive;
    const isAlive = ({ dataplane }: HostState): boolean => living.includes(dataplane.name);
    const selected = selectState(found, { mesh: undefined, name: undefined, ...wanted }, isAlive);
    expect(typeof selected === 'string' ? selected : selected.path).toBe(said);
  });

  test('no dataplane has run here', () => {
    expect(selectState([], { mesh: undefined, name: undefined }, () => true)).toContain('no agent has left');
  });
});

describe('status', () => {
  const dead = { alive: false, agent: undefined, problem: undefined };
  const lastStop = {
    stoppedAt: 'T',
    cause: 'signal SIGTERM',
    totalMs: 3_000,
    outcome: 'gone',
    exit: 'exit code 0',
  };

  test('a dataplane that runs', () => {
    const status = judgeStatus(
      { ...STATE, lastStop, rotation: { wanted: 'out', since: 'S', states: {} } },
      { alive: true, agent: { ...AGENT, rotation: 'turning out' }, problem: undefined },
    );
    expect(statusLines(status)).toEqual([
      'default/web-1',
      '  phase      running for 1m1s',
      '  lifecycle  cp',
      '  rotation   turning out, drained at S',
      '  endpoint   https://a: answers',
      '  endpoint   https://b: does not answer',
      '  endpoint   https://c: not asked yet',
      '  companion  attached, epoch 7',
      '  settle     2.25s',
      '  last stop  T, signal SIGTERM: gone, 3s, exit code 0',
    ]);
  });

  test.for([
    {
      state: { ...STATE, phase: 'ended' as const, deregistered: true },
      phase: 'ended',
      words: 'ended, deregistered',
    },
    { state: STATE, phase: 'lost', words: 'its object may exist' },
    { state: { ...STATE, deregistered: true }, phase: 'lost', words: 'died after it had deregistered' },
  ])('$words', ({ state, phase, words }) => {
    const status = judgeStatus(state, dead);
    expect(status.phase).toBe(phase);
    expect(statusLines(status).join('\n')).toContain(words);
  });

  test('an agent that lives but does not answer', () => {
    const status = judgeStatus(STATE, { alive: true, agent: undefined, problem: 'no socket' });
    expect(statusLines(status)).toContain('  agent      no socket');
  });

  test('standby and a missing Envoy are named', () => {
    const agent = { ...AGENT, standby: true, envoy: false, companion: { attached: false } };
    const lines = statusLines(judgeStatus(STATE, { alive: true, agent, problem: undefined }));
    expect(lines[1]).toBe('  phase      running, on standby since SIGUSR2 for 1m1s, no Envoy yet');
    expect(lines).toContain('  companion  not attached');
  });
});

describe('the pace of a rotation', () => {
  test.for([
    { sinceMs: 0, found: true, expected: 1_000 },
    { sinceMs: 0, found: false, expected: 250 },
    { sinceMs: 12_000, found: false, expected: 5_000 },
  ])('looks again $expected ms after $sinceMs ms', ({ sinceMs, found, expected }) => {
    expect(lookAgainMs(sinceMs, found)).toBe(expected);
  });

  test('what is left of the settle time', () => {
    expect([settleLeftMs(2_000, undefined), settleLeftMs(2_000, 500), settleLeftMs(2_000, 9_000)]).toEqual([
      2_000, 1_500, 0,
    ]);
  });
});
