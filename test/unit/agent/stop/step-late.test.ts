import { describe, expect, test } from 'vitest';

import {
  armDrain,
  armGiveUp,
  armKill,
  BEGIN,
  CLEAN,
  confirm,
  confirmed,
  DEADLINES,
  deregister,
  deregistered,
  deregisterForStandby,
  DRAIN,
  drained,
  envoySeen,
  exit,
  exited,
  FAILED,
  fired,
  follow,
  giveUp,
  hasten,
  KILLED,
  type StepRow,
  serving,
  spawned,
  standbyAsked,
  stop,
  stopped,
  tell,
  watchDrain,
  watchUsers,
} from './step-words.ts';

describe('step(): a deregistration that is late', () => {
  const late = [...serving, stop, fired('deregister')];
  test.for<StepRow>([
    {
      name: 'is tried on while kuma-dp drains',
      inputs: late,
      effects: [...BEGIN, ...DRAIN],
      ends: { name: 'draining', deadlines: DEADLINES, asked: 1, progress: 'trying' },
    },
    {
      name: 'that succeeds meanwhile is confirmed after the end of kuma-dp',
      inputs: [...late, deregistered('gone', 4_000), drained, exited(CLEAN), confirmed],
      effects: [...BEGIN, ...DRAIN, tell('end'), confirm, exit(CLEAN)],
      ends: stopped(CLEAN),
    },
    {
      name: 'that fails meanwhile is not confirmed',
      inputs: [...late, deregistered('failed', 4_000), exited(CLEAN)],
      effects: [...BEGIN, ...DRAIN, exit(CLEAN)],
      ends: stopped(CLEAN),
    },
    {
      name: 'that a companion goes on with is not confirmed',
      inputs: [...late, deregistered('handed over', 4_000), exited(CLEAN)],
      effects: [...BEGIN, ...DRAIN, exit(CLEAN)],
      ends: stopped(CLEAN),
    },
    {
      name: 'outlives kuma-dp by a moment, and is given up then',
      inputs: [...late, exited(CLEAN), fired('give-up'), deregistered('failed')],
      effects: [...BEGIN, ...DRAIN, armGiveUp, giveUp, exit(CLEAN)],
      ends: stopped(CLEAN),
    },
    {
      name: 'that succeeds in that moment ends the stop',
      inputs: [...late, exited(CLEAN), deregistered('gone')],
      effects: [...BEGIN, ...DRAIN, armGiveUp, exit(CLEAN)],
      ends: stopped(CLEAN),
    },
    {
      name: 'is hastened by the second request, which ends the drain',
      inputs: [...late, stop, exited(CLEAN), deregistered('failed')],
      effects: [...BEGIN, ...DRAIN, hasten, tell('end'), armGiveUp, exit(CLEAN)],
      ends: stopped(CLEAN),
    },
    {
      name: 'is hastened by a second request while kuma-dp ends',
      inputs: [...late, drained, stop],
      effects: [...BEGIN, ...DRAIN, tell('end'), hasten],
      ends: { name: 'exiting', deadlines: DEADLINES, asked: 2, progress: 'trying' },
    },
    {
      name: 'is not waited for after the third request',
      inputs: [...late, stop, stop, exited(KILLED)],
      effects: [...BEGIN, ...DRAIN, hasten, tell('end'), tell('kill'), exit(KILLED)],
      ends: stopped(KILLED),
    },
    {
      name: 'that was hastened already ends with that, not with its time',
      inputs: [...serving, stop, stop, fired('deregister')],
      effects: [...BEGIN, hasten],
      ends: {
        name: 'deregistering',
        child: 'alive',
        envoy: true,
        standby: false,
        deadlines: DEADLINES,
        asked: 2,
      },
    },
    {
      name: 'is given up a moment after a kuma-dp that ended before it was told',
      inputs: [
        ...serving,
        stop,
        exited(FAILED),
        fired('deregister'),
        fired('give-up'),
        deregistered('failed'),
      ],
      effects: [...BEGIN, armGiveUp, giveUp, exit(FAILED)],
      ends: stopped(FAILED),
    },
    {
      name: 'of a kuma-dp in standby drains without a SIGTERM',
      inputs: [...serving, standbyAsked, deregistered('gone'), stop, fired('deregister')],
      effects: [deregisterForStandby, tell('standby'), ...BEGIN, watchDrain, armDrain],
      ends: { name: 'draining', deadlines: DEADLINES, asked: 1, progress: 'trying' },
    },
  ])('$name', ({ inputs, effects, ends }) => {
    expect(follow(inputs)).toEqual({ effects, ends });
  });
});

describe('step(): neither an object nor an Envoy', () => {
  const begin = [deregister, watchUsers, armKill, ...DRAIN];
  test.for<StepRow>([
    {
      name: 'kuma-dp is told at once, and the attempts outlive it by a moment',
      inputs: [spawned, stop, exited(FAILED), fired('give-up'), deregistered('failed')],
      effects: [...begin, armGiveUp, giveUp, exit(FAILED)],
      ends: stopped(FAILED),
    },
    {
      name: 'an object that was there all the same is looked for once more',
      inputs: [spawned, stop, deregistered('gone'), exited(CLEAN), confirmed],
      effects: [...begin, confirm, exit(CLEAN)],
      ends: stopped(CLEAN),
    },
    {
      name: 'a second request hastens the attempts and ends kuma-dp',
      inputs: [spawned, stop, stop, deregistered('failed'), exited(FAILED)],
      effects: [...begin, hasten, tell('end'), exit(FAILED)],
      ends: stopped(FAILED),
    },
    {
      name: 'the drain of an Envoy that turns up after all is watched',
      inputs: [spawned, stop, envoySeen, deregistered('gone'), drained, exited(CLEAN), confirmed],
      effects: [...begin, watchDrain, tell('end'), confirm, exit(CLEAN)],
      ends: stopped(CLEAN),
    },
    {
      name: 'an Envoy that turns up while kuma-dp ends changes nothing',
      inputs: [spawned, stop, stop, envoySeen],
      effects: [...begin, hasten, tell('end')],
      ends: { name: 'exiting', deadlines: DEADLINES, asked: 2, progress: 'trying' },
    },
  ])('$name', ({ inputs, effects, ends }) => {
    expect(follow(inputs)).toEqual({ effects, ends });
  });
});
