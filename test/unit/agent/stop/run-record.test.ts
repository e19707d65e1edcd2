import { describe, expect, test } from 'vitest';

import type { Input, Phase } from '../../../../agent/stop/phases.pure.ts';
import { EMPTY_RECORD, recordStep, type RunRecord } from '../../../../agent/stop/run-record.pure.ts';
import { INITIAL_PHASE, step } from '../../../../agent/stop/step.pure.ts';
import {
  registered,
  CLEAN,
  deletedAgain,
  deregistered,
  drained,
  envoySeen,
  exited,
  fired,
  KILLED,
  serving,
  spawned,
  spawnFailed,
  standbyAsked,
  stop,
} from './step-words.ts';

/** One input every 10 ms, through the real {@link step}. */
function recordOf(inputs: readonly Input[]): RunRecord {
  let before: Phase = INITIAL_PHASE;
  let record = EMPTY_RECORD;
  for (const [at, input] of inputs.entries()) {
    const { phase: after } = step(before, input);
    record = recordStep(record, { before, input, after, atMs: at * 10 });
    before = after;
  }
  return record;
}

function stepsOf({ stop: stopRecord }: RunRecord): readonly string[] {
  return (stopRecord?.steps ?? []).map(({ step: name, outcome }) => `${name}: ${outcome}`);
}

const settling = [...serving, stop, deregistered('gone')];
const exiting = [...settling, fired('settle'), drained];

describe('what ended each step of a stop', () => {
  test.for<{ readonly inputs: readonly Input[]; readonly steps: readonly string[] }>([
    {
      inputs: [...exiting, exited(CLEAN), { type: 'confirmed', confirmed: { outcome: 'deleted again' } }],
      steps: [
        'deregister: gone',
        'settle: time is up',
        'drain: quiet',
        'exit: exit code 0',
        'confirm: deleted again',
      ],
    },
    {
      inputs: [...exiting, fired('kill'), exited(KILLED), { type: 'confirmed', confirmed: undefined }],
      steps: ['deregister: gone', 'settle: time is up', 'drain: quiet', 'exit: killed', 'confirm: skipped'],
    },
    {
      inputs: [...settling, fired('kill'), exited(KILLED)],
      steps: ['deregister: gone', 'settle: killed', 'exit: signal SIGKILL'],
    },
    { inputs: [...settling, stop], steps: ['deregister: gone', 'settle: hurried'] },
    {
      inputs: [...serving, stop, fired('deregister'), drained, exited(CLEAN), deregistered('failed')],
      steps: ['deregister: failed', 'drain: quiet', 'exit: exit code 0', 'confirm: done'],
    },
    { inputs: [...serving, exited(CLEAN), deregistered('kept')], steps: ['deregister: kept'] },
    { inputs: [stop], steps: [] },
  ])('$steps', ({ inputs, steps }) => {
    expect(stepsOf(recordOf(inputs))).toEqual(steps);
  });
});

test('a stop is counted from its first request; kuma-dp that ends by itself is a cause of its own', () => {
  expect(recordOf([...serving, stop, stop, stop])).toMatchObject({
    asked: 3,
    stop: { cause: 'signal SIGTERM' },
  });
  expect(recordOf([...serving, exited(CLEAN), stop])).toMatchObject({
    asked: 1,
    stop: { cause: 'kuma-dp exited' },
  });
});

test.for<[inputs: readonly Input[], registered: boolean]>([
  [[spawned], false],
  [[spawnFailed({ code: 127, signal: null })], false],
  [[registered], true],
  [[spawned, envoySeen], true],
  [[spawned, stop, envoySeen], true],
])('there may be an object: %#', ([inputs, stood]) => {
  expect(recordOf(inputs).registered).toBe(stood);
});

test('the answers of a standby and of the stop after it are kept in their order', () => {
  const record = recordOf([...serving, standbyAsked, deregistered('failed'), stop, deregistered('gone')]);
  expect(record.deregistrations.map(({ outcome }) => outcome)).toEqual(['failed', 'gone']);
  expect(stepsOf(record)).toEqual(['deregister: gone']);
});

test('an object that was put back and deleted again: its peers have been told once more after that', () => {
  const again: Input = { ...deletedAgain, settleMs: 2_250, atMs: 900 } as Input;
  const record = recordOf([...settling, again]);
  expect(record.settledAtMs).toBe(3_150);
  expect(record.deregistrations).toHaveLength(1);
});
