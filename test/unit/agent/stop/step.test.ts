import { describe, expect, test } from 'vitest';

import { crashDeadlines } from '../../../../agent/stop/stop-budget.pure.ts';
import {
  registered,
  armDrain,
  armGiveUp,
  armSettle,
  BEGIN,
  cancelStart,
  CLEAN,
  confirm,
  confirmed,
  DEADLINES,
  deletedAgain,
  deregisterRequested,
  deregisterCrashed,
  deregistered,
  deregisterForStandby,
  DRAIN,
  drained,
  envoySeen,
  exit,
  exited,
  exitedAndKept,
  FAILED,
  fired,
  follow,
  hasten,
  KILLED,
  type StepRow,
  serving,
  spawned,
  spawnFailed,
  standbyAsked,
  stop,
  stopped,
  tell,
  TERMED,
  watchDrain,
} from './step-words.ts';

describe('step(): one request to stop', () => {
  test.for<StepRow>([
    {
      name: 'deregisters, settles, drains, ends and confirms, in that order',
      inputs: [...serving, stop, deregistered('gone'), fired('settle'), drained, exited(CLEAN), confirmed],
      effects: [...BEGIN, armSettle, ...DRAIN, tell('end'), confirm, exit(CLEAN)],
      ends: stopped(CLEAN),
    },
    {
      name: 'settles only as long as the waits may last',
      inputs: [...serving, stop, deregistered('gone', 51_000)],
      effects: [...BEGIN, { type: 'arm', timer: 'settle', atMs: 52_000 }],
      ends: { name: 'settling', deadlines: DEADLINES, asked: 1, standby: false },
    },
    {
      name: 'settles anew when the object was put back and deleted again',
      inputs: [...serving, stop, deregistered('gone'), deletedAgain],
      effects: [...BEGIN, armSettle, armSettle],
      ends: { name: 'settling', deadlines: DEADLINES, asked: 1, standby: false },
    },
    {
      name: 'gives the drain the time of settling when it was not deregistered',
      inputs: [...serving, stop, deregistered('failed')],
      effects: [...BEGIN, ...DRAIN],
      ends: { name: 'draining', deadlines: DEADLINES, asked: 1, progress: 'failed' },
    },
    {
      name: 'drains at once when the object stays on purpose',
      inputs: [...serving, stop, deregistered('kept'), drained, exited(CLEAN), confirmed],
      effects: [...BEGIN, ...DRAIN, tell('end'), confirm, exit(CLEAN)],
      ends: stopped(CLEAN),
    },
    {
      name: 'drains at once when Envoy never came up, once the registered object is gone',
      inputs: [registered, spawned, stop, deregistered('gone'), exited(FAILED), confirmed],
      effects: [...BEGIN, ...DRAIN, confirm, exit(FAILED)],
      ends: stopped(FAILED),
    },
    {
      name: 'settles when Envoy comes up while it deregisters',
      inputs: [registered, spawned, stop, envoySeen, deregistered('gone')],
      effects: [...BEGIN, armSettle],
      ends: { name: 'settling', deadlines: DEADLINES, asked: 1, standby: false },
    },
    {
      name: 'ends the drain when its time is up',
      inputs: [
        ...serving,
        stop,
        deregistered('gone'),
        fired('settle'),
        fired('drain'),
        exited(CLEAN),
        confirmed,
      ],
      effects: [...BEGIN, armSettle, ...DRAIN, tell('end'), confirm, exit(CLEAN)],
      ends: stopped(CLEAN),
    },
    {
      name: 'kills a kuma-dp that ignores both signals',
      inputs: [
        ...serving,
        stop,
        deregistered('gone'),
        fired('settle'),
        fired('drain'),
        fired('kill'),
        exited(KILLED),
        confirmed,
      ],
      effects: [...BEGIN, armSettle, ...DRAIN, tell('end'), tell('kill'), confirm, exit(KILLED)],
      ends: stopped(KILLED),
    },
    {
      name: 'kills even while it is unknown whether the object is gone',
      inputs: [...serving, stop, fired('kill'), exited(KILLED), deregistered('failed')],
      effects: [...BEGIN, tell('kill'), armGiveUp, exit(KILLED)],
      ends: stopped(KILLED),
    },
    {
      name: 'says no second word to a drain that is over already',
      inputs: [...serving, stop, deregistered('gone'), fired('settle'), drained, drained, fired('drain')],
      effects: [...BEGIN, armSettle, ...DRAIN, tell('end')],
      ends: { name: 'exiting', deadlines: DEADLINES, progress: 'answered', asked: 1 },
    },
  ])('$name', ({ inputs, effects, ends }) => {
    expect(follow(inputs)).toEqual({ effects, ends });
  });
});

describe('step(): asked again', () => {
  test.for<StepRow>([
    {
      name: 'a second request while deregistering hastens it, and skips every wait after it',
      inputs: [...serving, stop, stop, deregistered('gone'), exited(CLEAN), confirmed],
      effects: [...BEGIN, hasten, tell('end'), confirm, exit(CLEAN)],
      ends: stopped(CLEAN),
    },
    {
      name: 'a second request never skips the attempt to deregister',
      inputs: [...serving, stop, stop],
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
      name: 'a second request while settling drains and ends in one go',
      inputs: [...serving, stop, deregistered('gone'), stop],
      effects: [...BEGIN, armSettle, tell('end')],
      ends: { name: 'exiting', deadlines: DEADLINES, progress: 'answered', asked: 2 },
    },
    {
      name: 'a second request while draining ends the drain',
      inputs: [...serving, stop, deregistered('kept'), stop],
      effects: [...BEGIN, ...DRAIN, tell('end')],
      ends: { name: 'exiting', deadlines: DEADLINES, progress: 'answered', asked: 2 },
    },
    {
      name: 'a second request while kuma-dp ends changes nothing',
      inputs: [...serving, stop, deregistered('kept'), drained, stop],
      effects: [...BEGIN, ...DRAIN, tell('end')],
      ends: { name: 'exiting', deadlines: DEADLINES, progress: 'answered', asked: 2 },
    },
    {
      name: 'a second request while confirming leaves it at that',
      inputs: [...serving, stop, deregistered('kept'), drained, exited(CLEAN), stop],
      effects: [...BEGIN, ...DRAIN, tell('end'), confirm, exit(CLEAN)],
      ends: stopped(CLEAN),
    },
    {
      name: 'a third request while deregistering kills, and still waits for the answer',
      inputs: [...serving, stop, stop, stop, exited(KILLED), deregistered('gone')],
      effects: [...BEGIN, hasten, tell('kill'), armGiveUp, exit(KILLED)],
      ends: stopped(KILLED),
    },
    {
      name: 'an answer between the third request and the end of kuma-dp tells it nothing more',
      inputs: [...serving, stop, stop, stop, deregistered('gone'), exited(KILLED)],
      effects: [...BEGIN, hasten, tell('kill'), exit(KILLED)],
      ends: stopped(KILLED),
    },
    {
      name: 'a third request after a hurried settling kills and does not confirm',
      inputs: [...serving, stop, deregistered('gone'), stop, stop, exited(KILLED)],
      effects: [...BEGIN, armSettle, tell('end'), tell('kill'), exit(KILLED)],
      ends: stopped(KILLED),
    },
    {
      name: 'a third request after a hurried drain kills and does not confirm',
      inputs: [...serving, stop, deregistered('failed'), stop, stop, exited(KILLED)],
      effects: [...BEGIN, ...DRAIN, tell('end'), tell('kill'), exit(KILLED)],
      ends: stopped(KILLED),
    },
    {
      name: 'a fourth request kills once more',
      inputs: [...serving, stop, deregistered('failed'), stop, stop, stop],
      effects: [...BEGIN, ...DRAIN, tell('end'), tell('kill'), tell('kill')],
      ends: { name: 'exiting', deadlines: DEADLINES, progress: 'failed', asked: 4 },
    },
    {
      name: 'a third request finds no process to kill once kuma-dp is gone',
      inputs: [...serving, stop, exited(CLEAN), stop, stop, deregistered('gone')],
      effects: [...BEGIN, armGiveUp, hasten, exit(CLEAN)],
      ends: stopped(CLEAN),
    },
  ])('$name', ({ inputs, effects, ends }) => {
    expect(follow(inputs)).toEqual({ effects, ends });
  });
});

describe('step(): kuma-dp ends by itself', () => {
  test.for<StepRow>([
    {
      name: 'while running: it is deregistered within the short deadline, then mirrored',
      inputs: [...serving, exited(KILLED), deregistered('gone')],
      effects: [deregisterCrashed, exit(KILLED)],
      ends: stopped(KILLED),
    },
    {
      name: 'while running, with a clean exit: deregistered all the same',
      inputs: [...serving, exited(CLEAN), deregistered('failed')],
      effects: [deregisterCrashed, exit(CLEAN)],
      ends: stopped(CLEAN),
    },
    {
      name: 'before Envoy was seen: nothing was registered, nothing is deregistered',
      inputs: [spawned, exited(FAILED)],
      effects: [exit(FAILED)],
      ends: stopped(FAILED),
    },
    {
      name: 'before Envoy was seen, with the object registered: deregistered',
      inputs: [registered, spawned, exited(FAILED), deregistered('gone')],
      effects: [deregisterCrashed, exit(FAILED)],
      ends: stopped(FAILED),
    },
    {
      name: 'while running under --on-crash keep: mirrored at once',
      inputs: [...serving, exitedAndKept(KILLED)],
      effects: [exit(KILLED)],
      ends: stopped(KILLED),
    },
    {
      name: 'registered, before Envoy was seen, under --on-crash keep: mirrored at once',
      inputs: [registered, spawned, exitedAndKept(FAILED)],
      effects: [exit(FAILED)],
      ends: stopped(FAILED),
    },
    {
      name: 'and two stop requests arrive meanwhile: the attempt is hastened',
      inputs: [...serving, exited(KILLED), stop, stop, deregistered('failed')],
      effects: [deregisterCrashed, hasten, exit(KILLED)],
      ends: stopped(KILLED),
    },
    {
      name: 'while deregistering: the answer is waited for',
      inputs: [...serving, stop, exited(CLEAN), deregistered('gone')],
      effects: [...BEGIN, armGiveUp, exit(CLEAN)],
      ends: stopped(CLEAN),
    },
    {
      name: 'while deregistering: its timer finds no process to kill',
      inputs: [...serving, stop, exited(CLEAN), fired('kill')],
      effects: [...BEGIN, armGiveUp],
      ends: {
        name: 'deregistering',
        child: CLEAN,
        envoy: true,
        standby: false,
        deadlines: DEADLINES,
        asked: 1,
      },
    },
    {
      name: 'while settling: confirmed, never told anything',
      inputs: [...serving, stop, deregistered('gone'), exited(FAILED), fired('settle'), confirmed],
      effects: [...BEGIN, armSettle, confirm, exit(FAILED)],
      ends: stopped(FAILED),
    },
    {
      name: 'while draining: confirmed, not told to end',
      inputs: [...serving, stop, deregistered('kept'), exited(CLEAN), drained, fired('drain'), confirmed],
      effects: [...BEGIN, ...DRAIN, confirm, exit(CLEAN)],
      ends: stopped(CLEAN),
    },
    {
      name: 'while confirming no process is left that could: ignored',
      inputs: [
        ...serving,
        stop,
        deregistered('kept'),
        exited(CLEAN),
        exited(KILLED),
        fired('kill'),
        confirmed,
      ],
      effects: [...BEGIN, ...DRAIN, confirm, exit(CLEAN)],
      ends: stopped(CLEAN),
    },
  ])('$name', ({ inputs, effects, ends }) => {
    expect(follow(inputs)).toEqual({ effects, ends });
  });
});

describe('step(): before kuma-dp is there', () => {
  test.for<StepRow>([
    {
      name: 'a stop ends as the signal would have',
      inputs: [stop],
      effects: [cancelStart, exit(TERMED)],
      ends: stopped(TERMED),
    },
    {
      name: 'a stop deletes a registered object first, without a kill timer',
      inputs: [registered, stop, deregistered('gone')],
      effects: [cancelStart, deregisterRequested, exit(TERMED)],
      ends: stopped(TERMED),
    },
    {
      name: 'three stops hasten the deregistration once and kill no process',
      inputs: [registered, stop, stop, stop, deregistered('failed')],
      effects: [cancelStart, deregisterRequested, hasten, exit(TERMED)],
      ends: stopped(TERMED),
    },
    {
      name: 'a command that cannot be started ends with its code',
      inputs: [spawnFailed({ code: 127, signal: null })],
      effects: [exit({ code: 127, signal: null })],
      ends: stopped({ code: 127, signal: null }),
    },
    {
      name: 'a command that cannot be started takes its registered object with it',
      inputs: [registered, spawnFailed({ code: 127, signal: null }), deregistered('gone')],
      effects: [
        cancelStart,
        { type: 'deregister', byMs: crashDeadlines(0).deregisterByMs },
        exit({ code: 127, signal: null }),
      ],
      ends: stopped({ code: 127, signal: null }),
    },
    {
      name: 'SIGUSR2 means nothing yet',
      inputs: [standbyAsked, spawned],
      effects: [],
      ends: { name: 'running', registered: false, envoy: false, standby: 'no' },
    },
  ])('$name', ({ inputs, effects, ends }) => {
    expect(follow(inputs)).toEqual({ effects, ends });
  });
});

describe('step(): SIGUSR2, drain and stay', () => {
  test.for<StepRow>([
    {
      name: 'deregisters, then passes it on',
      inputs: [...serving, standbyAsked, deregistered('gone')],
      effects: [deregisterForStandby, tell('standby')],
      ends: { name: 'running', registered: false, envoy: true, standby: 'yes' },
    },
    {
      name: 'passes it on as well when it was not deregistered',
      inputs: [...serving, standbyAsked, deregistered('failed')],
      effects: [deregisterForStandby, tell('standby')],
      ends: { name: 'running', registered: false, envoy: true, standby: 'yes' },
    },
    {
      name: 'asked twice for standby before it is deregistered, passes it on once',
      inputs: [...serving, standbyAsked, standbyAsked, deregistered('gone')],
      effects: [deregisterForStandby, tell('standby')],
      ends: { name: 'running', registered: false, envoy: true, standby: 'yes' },
    },
    {
      name: 'asked again in standby, passes it on again',
      inputs: [...serving, standbyAsked, deregistered('gone'), standbyAsked],
      effects: [deregisterForStandby, tell('standby'), tell('standby')],
      ends: { name: 'running', registered: false, envoy: true, standby: 'yes' },
    },
    {
      name: 'a stop in standby deregisters again and keeps SIGTERM until the last request is done',
      inputs: [
        ...serving,
        standbyAsked,
        deregistered('gone'),
        stop,
        deregistered('gone'),
        fired('settle'),
        drained,
        exited(CLEAN),
        confirmed,
      ],
      effects: [
        deregisterForStandby,
        tell('standby'),
        ...BEGIN,
        armSettle,
        watchDrain,
        armDrain,
        tell('end'),
        confirm,
        exit(CLEAN),
      ],
      ends: stopped(CLEAN),
    },
    {
      name: 'a stop in standby without a deregistration drains without a SIGTERM as well',
      inputs: [...serving, standbyAsked, deregistered('gone'), stop, deregistered('failed')],
      effects: [deregisterForStandby, tell('standby'), ...BEGIN, watchDrain, armDrain],
      ends: { name: 'draining', deadlines: DEADLINES, asked: 1, progress: 'failed' },
    },
    {
      name: 'a stop during its deregistration takes over: no process stays',
      inputs: [
        ...serving,
        standbyAsked,
        stop,
        deregistered('gone'),
        deregistered('gone'),
        fired('settle'),
        drained,
        exited(CLEAN),
        confirmed,
      ],
      effects: [
        deregisterForStandby,
        ...BEGIN,
        armSettle,
        // Deleted once more: the peers get their time again.
        armSettle,
        ...DRAIN,
        tell('end'),
        confirm,
        exit(CLEAN),
      ],
      ends: stopped(CLEAN),
    },
    {
      name: 'is ignored once a stop has begun, as kuma-dp itself would',
      inputs: [...serving, stop, standbyAsked, deregistered('gone'), standbyAsked],
      effects: [...BEGIN, armSettle],
      ends: { name: 'settling', deadlines: DEADLINES, asked: 1, standby: false },
    },
    {
      name: 'a kuma-dp that ends in standby is deregistered again',
      inputs: [...serving, standbyAsked, deregistered('gone'), exited(CLEAN), deregistered('gone')],
      effects: [deregisterForStandby, tell('standby'), deregisterCrashed, exit(CLEAN)],
      ends: stopped(CLEAN),
    },
  ])('$name', ({ inputs, effects, ends }) => {
    expect(follow(inputs)).toEqual({ effects, ends });
  });
});
