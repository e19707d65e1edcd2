import { beforeEach, describe, expect, test } from 'vitest';

import type { HostState } from '../../../../agent/state/host-state.pure.ts';
import { agentEvents } from '../../../../agent/events.ts';
import { StateNotes } from '../../../../agent/state/state-notes.ts';
import { DEFAULT_FACTS, type ControlPlaneFacts } from '../../../../kuma/control-plane.ts';
import { FakeLog } from '../../../support/fake-log.ts';
import { hostState } from '../../../support/host-state.ts';

const INITIAL = hostState({
  endpoints: ['https://cp:5682'],
  deregistrationDelayMs: 0,
});

describe('StateNotes', () => {
  let log: FakeLog;
  let written: HostState[];
  let facts: ControlPlaneFacts;
  let failure: Error | undefined;

  beforeEach(() => {
    log = new FakeLog();
    written = [];
    facts = DEFAULT_FACTS;
    failure = undefined;
  });

  function notes(): StateNotes {
    return new StateNotes(INITIAL, {
      events: agentEvents(log),
      host: { uptimeMs: () => 123_456, processRef: (pid) => ({ pid, startTicks: 7 }) },
      facts: () => facts,
      write: (state) => {
        written.push(state);
        return failure === undefined ? Promise.resolve() : Promise.reject(failure);
      },
    });
  }

  test('writes one whole state per note, each with what the notes before it said', async () => {
    const state = notes();
    state.note({ phase: 'running', pid: 200 });
    facts = { ...DEFAULT_FACTS, version: '2.14.3', instanceId: 'cp-1', deregistrationDelayMs: 3_000 };
    state.note({ phase: 'leaving', deregistered: false });
    state.note({ phase: 'leaving', deregistered: true });
    state.note({ phase: 'ended', deregistered: true, neverStored: false });
    await state.written;
    const running: HostState = {
      ...INITIAL,
      kumaDp: { pid: 200, startTicks: 7 },
      controlPlaneVersion: undefined,
      controlPlaneInstance: undefined,
    };
    const leaving: HostState = {
      ...running,
      phase: 'leaving',
      deregistrationDelayMs: 3_000,
      controlPlaneVersion: '2.14.3',
      controlPlaneInstance: 'cp-1',
    };
    expect(written).toEqual([
      running,
      leaving,
      { ...leaving, deregistered: true },
      { ...leaving, phase: 'ended', deregistered: true, endedAtUptimeMs: 123_456 },
    ]);
  });

  test('writes down what is learnt of the control plane, and only what is new', async () => {
    const state = notes();
    state.note({ phase: 'running', pid: 200 });
    state.noteFacts();
    facts = { ...DEFAULT_FACTS, version: '2.14.3', deregistrationDelayMs: 3_000 };
    state.noteFacts();
    state.noteFacts();
    await state.written;
    expect(written.map(({ phase, deregistrationDelayMs }) => [phase, deregistrationDelayMs])).toEqual([
      ['running', 0],
      ['running', 3_000],
    ]);
  });

  test('an Envoy that was seen is written down at once, and taken back where there never was an object', async () => {
    const state = notes();
    state.noteAccepted();
    state.note({ phase: 'ended', deregistered: true, neverStored: false });
    state.note({ phase: 'ended', deregistered: true, neverStored: true });
    await state.written;
    expect(written.map(({ connected }) => connected)).toEqual([true, true, false]);
  });

  test('a control plane that says nothing leaves what an earlier run has learnt', async () => {
    const state = notes();
    state.note({ phase: 'running', pid: 200 });
    state.noteFacts();
    await state.written;
    expect(written).toHaveLength(1);
    expect(written[0]?.deregistrationDelayMs).toBe(INITIAL.deregistrationDelayMs);
  });

  test('the agent does not look for a kuma-dp that has ended already', async () => {
    const state = new StateNotes(INITIAL, {
      events: agentEvents(log),
      host: { uptimeMs: () => 0, processRef: () => undefined },
      facts: () => facts,
      write: (next) => {
        written.push(next);
        return Promise.resolve();
      },
    });
    state.note({ phase: 'running', pid: 200 });
    await state.written;
    expect(written[0]?.kumaDp).toBeUndefined();
  });

  test('a file that cannot be written costs one warning, however often', async () => {
    failure = new Error('no space left on device');
    const state = notes();
    state.note({ phase: 'running', pid: 200 });
    state.note({ phase: 'leaving', deregistered: false });
    await state.written;
    state.note({ phase: 'ended', deregistered: true, neverStored: false });
    await state.written;
    expect(written).toHaveLength(3);
    expect(log.lines).toEqual([
      {
        level: 'warn',
        event: 'state.unwritable',
        message: 'Cannot write the state file: if this agent is killed, ExecStopPost cannot finish its stop',
        fields: { err: failure },
      },
    ]);
  });

  test('has nothing to wait for before the first note', async () => {
    await expect(notes().written).resolves.toBeUndefined();
  });
});
