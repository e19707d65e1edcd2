import { assert, constantFrom, oneof, property, string } from 'fast-check';
import { describe, expect, test } from 'vitest';

import { agentEvents, type AgentEvents } from '../../../agent/events.ts';
import type { StopReport } from '../../../agent/stop/stop-report.pure.ts';
import { deregistrarEvents, type DeregistrarEvents } from '../../../control-plane/events.ts';
import type { DataplaneRecord } from '../../../control-plane/records.pure.ts';
import { OperationalError } from '../../../kernel/errors.ts';
import type { Log } from '../../../kernel/log.ts';
import { DEFAULT_FACTS } from '../../../kuma/control-plane.ts';
import { withoutSecrets } from '../../../program/line-output.ts';
import { textLog } from '../../../program/text-log.ts';
import { recordOf } from '../../support/fakes/dataplane-record.ts';
import { FakeOutput } from '../../support/fake-output.ts';

/** Arguments of every event, made of a text that may be anything: an event that is missing here does not compile. */
type Calls<Events> = {
  readonly [Name in keyof Events]: Events[Name] extends (...args: infer Args) => void
    ? (odd: string) => Args
    : never;
};

function failure(odd: string): Error {
  return new OperationalError('ENDPOINT_REJECTED', `Cannot ${odd}`, {
    cause: new Error(odd, { cause: odd }),
    details: { odd },
  });
}

function report(odd: string): StopReport {
  return {
    schema: 1,
    stoppedAt: odd,
    dataplane: odd,
    incarnation: odd,
    lifecycle: odd,
    cause: odd,
    asked: 1,
    budgetMs: 60_000,
    leftMs: 1,
    totalMs: 3_000,
    steps: [{ step: 'deregister', startMs: 0, durationMs: 8, outcome: odd, detail: { odd } }],
    exit: { code: 0, signal: null },
  };
}

const AGENT: Calls<AgentEvents> = {
  agentStarted: (odd) => [{ stateDir: odd, [odd]: odd, endpoints: [new URL('https://cp:5682')] }],
  dataplaneDerived: (odd) => [odd, { lifecycle: odd, incarnation: odd }],
  dataplaneUnknown: (odd) => [odd],
  templateDoubted: (odd) => [odd],
  settingIgnored: (odd) => [odd],
  startUnpaced: () => [],
  startPaced: () => [1_500],
  childSpawned: (odd) => [4_711, [odd, odd]],
  guardMissing: () => [],
  wrapperInTheWay: (odd) => [{ program: odd, level: 'breaks', says: odd, remedy: odd }],
  fileKept: (odd) => [odd, failure(odd)],
  envoyHidden: (odd) => [odd],
  notificationLost: (odd) => [odd],
  predecessorDrains: () => [4_711],
  metricsServed: (odd) => [odd],
  metricsUnavailable: (odd) => [odd, failure(odd)],
  countsForgotten: (odd) => [failure(odd)],
  stateUnreadable: (odd) => [failure(odd)],
  stateUnwritable: (odd) => [failure(odd)],
  dataplaneRegistered: () => [],
  registeredAgain: () => [],
  objectMended: () => [],
  objectUnmarked: () => [],
  readinessFailed: (odd) => [failure(odd)],
  ownershipGivenUp: (odd) => [failure(odd)],
  dataplaneReady: () => [],
  endpointReached: (odd) => [odd, { ...DEFAULT_FACTS, version: odd }],
  endpointLost: (odd) => [odd, odd],
  companionAttached: (odd) => [odd, 7],
  companionResumed: (odd) => [odd, 3],
  companionDegraded: (odd) => [odd],
  companionRedirected: (odd) => [odd, odd],
  companionLost: (odd) => [odd, failure(odd)],
  companionMissed: () => [900],
  companionsBypassed: (odd) => [odd],
  lookRefused: (odd) => [odd, { address: odd, port: 8_080 }],
  witnessUnable: (odd) => [odd, { address: odd, port: 8_080 }],
  nameHeld: (odd) => [odd, odd],
  nameSuperseded: (odd) => [odd, failure(odd)],
  rotationRequested: () => ['out'],
  rotationChanged: () => ['in', true],
  rotationFailed: (odd) => ['out', failure(odd)],
  healthcheckUntold: (odd) => [failure(odd)],
  controlUnavailable: (odd) => [failure(odd)],
  phaseChanged: (odd) => [odd, odd, odd],
  stopRequested: () => ['SIGTERM', 2],
  signalForwarded: () => ['SIGUSR1'],
  deregistrationLate: () => [],
  deregistered: (odd) => [{ outcome: 'failed', reason: odd, endpoint: odd, attempts: 3, dataplane: odd }],
  drainBlind: (odd) => [odd],
  hookStarted: (odd) => [odd, 1_000],
  hookSaid: (odd) => [odd, odd],
  hookDone: (odd) => [odd, 3],
  hookFailed: (odd) => [odd, odd, 3],
  callsRedirected: (odd) => [odd, odd],
  optionCut: (odd) => [{ level: 'failure', about: odd, says: odd, remedy: odd }],
  drainHeld: (odd) => [odd, 'requests'],
  childDenied: () => [4_711],
  childDetached: () => [4_711],
  childExited: () => [{ code: null, signal: 'SIGKILL' }],
  confirmed: (odd) => [{ outcome: 'unknown', reason: odd }],
  stopReported: (odd) => [report(odd)],
  reportUnwritable: (odd) => [failure(odd)],
  failedUnexpectedly: (odd) => [new TypeError(odd)],
};

const KEY = { proxyType: 'dataplane', mesh: 'default', name: 'web-1' } as const;

function known(odd: string) {
  return { key: { ...KEY, name: odd }, epoch: 3, incarnation: odd };
}

function record(odd: string): DataplaneRecord {
  return recordOf({ ...known(odd), address: odd, resource: odd, state: 'leaving', replica: odd, phase: odd });
}

const DEREGISTRAR: Calls<DeregistrarEvents> = {
  started: (odd) => [{ listen: [odd, odd], store: odd, replica: odd }],
  stopping: () => [4],
  stopped: () => [],
  notificationLost: (odd) => [odd],
  failedUnexpectedly: (odd) => [new TypeError(odd)],
  controlPlaneFound: (odd) => [odd, { ...DEFAULT_FACTS, version: odd, instanceId: odd, mode: odd }],
  controlPlaneLost: (odd) => [odd, odd],
  controlPlaneWrong: (odd) => [odd, odd],
  zoneForeign: (odd) => [odd],
  controlPlaneUnnamed: (odd) => [odd],
  attached: (odd) => [known(odd), { fenced: true, leaving: false }],
  lost: (odd) => [known(odd), { reason: odd, cause: 'closed' }, 15_000],
  gone: (odd) => [known(odd)],
  held: (odd) => [known(odd), odd],
  superseded: (odd) => [known(odd)],
  refused: (odd) => [odd, odd, odd],
  reported: (odd) => [known(odd), report(odd)],
  kept: (odd) => [known(odd)],
  registered: (odd) => [known(odd), true],
  healed: (odd) => [known(odd), odd],
  healingFailed: (odd) => [known(odd), failure(odd)],
  leaving: (odd) => [known(odd)],
  swept: (odd) => [{ ...KEY, name: odd }, odd],
  sweepReported: (odd) => [{ ...KEY, name: odd }, odd],
  attempted: (odd) => [record(odd), { kind: 'later', afterMs: 100, guard: odd, reason: odd }],
  attemptFailed: (odd) => [record(odd), failure(odd)],
  undone: (odd) => [{ ...KEY, name: odd }],
  brakeReleased: (odd) => [odd, 600_000],
  suspected: (odd) => [known(odd), 'dark'],
  suspectHeld: (odd) => [known(odd), odd],
  sidelined: (odd) => [known(odd), odd],
  sideliningFailed: (odd) => [{ ...KEY, name: odd }, failure(odd)],
  sideliningDropped: (odd) => [{ ...KEY, name: odd }],
  sideliningTaken: (odd) => [{ ...KEY, name: odd }],
  restored: (odd) => [{ ...KEY, name: odd }],
  storeLost: (odd) => [failure(odd)],
  storeFound: () => [1_234],
  epochsRaised: () => [31],
  replicaLost: () => [5, 10_025],
  agentsMissing: () => [5],
  tokenRefused: (odd) => [{ mesh: odd, address: odd }, odd],
  tokensDoubted: (odd) => [{ kind: 'file-unusable', path: odd, reason: odd }],
  connectionRefused: (odd) => [odd, odd],
  handshakeFailed: (odd) => [odd, failure(odd)],
  certificateAwaited: (odd) => [odd],
  certificateReloaded: (odd) => [odd, Date.UTC(2026, 0, 1)],
  fileKept: (odd) => [odd, failure(odd)],
  certificateBroken: (odd) => [odd, failure(odd)],
};

const PROGRAMS = [
  { program: 'kuma-dp-agent', events: agentEvents, calls: AGENT },
  { program: 'kuma-deregistrar', events: deregistrarEvents, calls: DEREGISTRAR },
] as const;

type AnyCalls = Readonly<Record<string, (odd: string) => readonly unknown[]>>;
type AnyEvents = Readonly<Record<string, (...args: readonly unknown[]) => void>>;

const EVENTS = PROGRAMS.flatMap(({ program, events, calls }) =>
  Object.entries(calls as AnyCalls).map(([name, args]) => ({
    program,
    name,
    say: (log: Log, odd: string) => {
      (events(log) as unknown as AnyEvents)[name]?.(...args(odd));
    },
  })),
);

function rendered(say: (log: Log) => void): readonly string[] {
  const output = new FakeOutput();
  const look = { reader: 'journal', colour: false } as const;
  say(textLog(withoutSecrets(output), { level: 'debug', look, wallMs: () => 0 }));
  return output.lines;
}

const SECRET = 'eyJhbGciOiJSUzI1NiJ9.eyJOYW1lIjoid2ViLTEifQ.c2lnbmF0dXJl';

/**
 * The form that the journal and docs/operate/messages.md require: a priority, a sentence, its event; no character
 * that could end or turn the line.
 */
const ONE_LINE = /^<[3467]>[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]+ \[[a-z-]+\.[a-z-]+\]\n$/u;

describe('for a person, in the journal', () => {
  test.for(EVENTS)('$program: $name is one line, whatever is in it', ({ say }) => {
    const anything = oneof(
      string({ unit: 'binary', maxLength: 40 }),
      string({ unit: 'grapheme', maxLength: 40 }),
      constantFrom('', '\n<3>forged [agent.failed]\n', '\u001B[2J', 'x'.repeat(10_000), '\uDC00\uD800'),
    );
    assert(
      property(anything, (odd) => {
        const lines = rendered((log) => {
          say(log, odd);
        });
        expect(lines).toEqual([expect.stringMatching(ONE_LINE)]);
        expect(Buffer.byteLength(lines[0] ?? '')).toBeLessThan(4_096);
      }),
      { numRuns: 50 },
    );
  });

  test.for(EVENTS)('$program: $name keeps a secret', ({ say }) => {
    const [line = ''] = rendered((log) => {
      say(log, `${SECRET} postgres://me:password1@db`);
    });
    expect(line).not.toMatch(/eyJ|password1/);
  });
});
