import { describe, expect, test } from 'vitest';

import { INITIAL_PHASE, step } from '../../../../agent/stop/step.pure.ts';
import type { Input, Phase } from '../../../../agent/stop/phases.pure.ts';
import {
  registered,
  CLEAN,
  confirmed,
  DEADLINES,
  deletedAgain,
  deregistered,
  drained,
  envoySeen,
  exited,
  FAILED,
  fired,
  KILLED,
  spawned,
  spawnFailed,
  standbyAsked,
  stop,
  stopped,
} from './step-words.ts';

describe('step(): inputs that mean nothing', () => {
  const settling: Phase = { name: 'settling', deadlines: DEADLINES, asked: 1, standby: false };
  const draining: Phase = { name: 'draining', deadlines: DEADLINES, asked: 1, progress: 'answered' };
  const exiting: Phase = { name: 'exiting', deadlines: DEADLINES, asked: 1, progress: 'answered' };
  const confirming: Phase = {
    name: 'confirming',
    deadlines: DEADLINES,
    asked: 1,
    exit: CLEAN,
    trying: false,
  };
  const running: Phase = { name: 'running', registered: false, envoy: true, standby: 'no' };
  const deregistering: Phase = {
    name: 'deregistering',
    child: 'alive',
    envoy: true,
    standby: false,
    deadlines: DEADLINES,
    asked: 1,
  };
  const late = [registered, spawned, spawnFailed(FAILED), confirmed] as const;

  test.for<{ readonly phase: Phase; readonly inputs: readonly Input[] }>([
    {
      phase: INITIAL_PHASE,
      inputs: [
        envoySeen,
        standbyAsked,
        exited(CLEAN),
        deregistered('gone'),
        deletedAgain,
        fired('kill'),
        drained,
        confirmed,
      ],
    },
    { phase: running, inputs: [...late, deregistered('gone'), deletedAgain, fired('kill'), drained] },
    { phase: deregistering, inputs: [...late, standbyAsked, drained, fired('settle'), fired('drain')] },
    {
      phase: settling,
      inputs: [...late, envoySeen, standbyAsked, drained, fired('drain')],
    },
    { phase: draining, inputs: [...late, standbyAsked, deregistered('gone'), deletedAgain, fired('settle')] },
    {
      phase: exiting,
      inputs: [
        ...late,
        envoySeen,
        standbyAsked,
        deregistered('gone'),
        deletedAgain,
        drained,
        fired('settle'),
        fired('drain'),
      ],
    },
    {
      phase: confirming,
      inputs: [
        registered,
        spawned,
        spawnFailed(FAILED),
        envoySeen,
        standbyAsked,
        exited(KILLED),
        deregistered('gone'),
        deletedAgain,
        fired('kill'),
        drained,
      ],
    },
    {
      phase: stopped(CLEAN),
      inputs: [
        ...late,
        envoySeen,
        stop,
        standbyAsked,
        exited(KILLED),
        deregistered('gone'),
        deletedAgain,
        fired('kill'),
        drained,
      ],
    },
  ])('$phase.name: the very same phase comes back, and no effect', ({ phase, inputs }) => {
    for (const input of inputs) {
      const next = step(phase, input);
      expect(next.phase, input.type).toBe(phase);
      expect(next.effects, input.type).toEqual([]);
    }
  });
});
