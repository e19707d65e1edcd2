export interface Change {
  readonly file: string;
  /** Occurs once in the file. */
  readonly from: string;
  readonly to: string;
}

/** One change of the decision code that the simulation has to notice. */
export interface Mutant extends Change {
  readonly name: string;
  /** Where the same rule is kept as well. */
  readonly also?: readonly Change[];
  /** Why the simulation does not find it, and the tests each of which does. */
  readonly survives?: { readonly because: string; readonly foundBy: readonly string[] };
}

const EVIDENCE_TESTS = 'test/unit/control-plane/evidence';
const WITNESS_TESTS = 'test/unit/control-plane/witness';

const SUSPICION = 'control-plane/witness/suspicion.pure.ts';
const SIDELINING = 'control-plane/witness/sidelining.pure.ts';
const GUARDS = 'control-plane/evidence/guards.pure.ts';

/** Of the evidence: whether an object may be deleted. */
const EVIDENCE: readonly Mutant[] = [
  {
    name: 'a stream that is online keeps nothing',
    file: GUARDS,
    from: '  if (streams !== undefined) return streams;\n  return judgeSilence(given, neededMs, steadyMs)',
    to: '  return judgeSilence(given, neededMs, steadyMs)',
  },
  {
    name: 'no silence is needed',
    file: GUARDS,
    from: 'if (silentMs >= neededMs) return undefined;',
    to: 'return undefined;',
  },
  {
    name: 'no probation',
    file: GUARDS,
    from: 'if (around.steadyMs < steadyMs) return onProbation',
    to: 'if (around.steadyMs < 0) return onProbation',
  },
  {
    name: 'what came after an announced departure is its own',
    file: GUARDS,
    from: '  if (!isDoubtful) return undefined;',
    to: '  if (isDoubtful || !isDoubtful) return undefined;',
  },
  {
    name: 'another incarnation’s object goes',
    file: 'kuma/ownership.ts',
    from: 'own.incarnation !== undefined && incarnation !== own.incarnation) {',
    to: 'own.incarnation === incarnation && incarnation !== own.incarnation) {',
    survives: {
      because: 'epochs and addresses keep it as well',
      foundBy: ['test/unit/kuma/ownership.test.ts'],
    },
  },
  {
    name: 'an instance that was never seen to end has ended',
    file: GUARDS,
    from: "({ controlPlaneInstanceId: id = '' }) => !around.endedInstances.has(id)",
    to: "({ controlPlaneInstanceId: id = '' }) => id === 'nothing'",
    survives: {
      because: 'every control plane is named here',
      foundBy: [`${EVIDENCE_TESTS}/doubt.test.ts`, 'test/contract/evidence.test.ts'],
    },
  },
  {
    name: 'streams that only a store that went back remembers stay open',
    file: 'control-plane/agents/attached-agents.ts',
    from: 'if (!(await this.#try(() => this.#endStrays()))) return;',
    to: '',
  },
  {
    name: 'an end in a control plane’s future counts by its clock',
    file: GUARDS,
    from: 'const offline = isOfFuture(given) ? unchangedMs : shownMs;',
    to: 'const offline = shownMs;',
  },
  {
    name: 'the time of PostgreSQL stands still until a clock that was set back has caught up',
    file: 'control-plane/store/advancing-time.ts',
    from: 'latestMs = Math.max(latestMs + passedMs, knownMs);',
    to: 'latestMs = Math.max(latestMs, knownMs + passedMs * 0);',
  },
  {
    name: 'calls are served however late they are read',
    file: 'control-plane/rpc/handlers.ts',
    from: 'if (lateMs > 0 &&',
    to: 'if (lateMs < 0 &&',
    survives: {
      because: 'the evidence keeps the object as well',
      foundBy: ['test/integration/companion/paused.test.ts'],
    },
  },
  {
    name: 'a stream is open although its replica is gone',
    file: 'control-plane/engine.ts',
    from: '!this.heartbeat.replicas.includes(replica)',
    to: 'replica === `nowhere`',
  },
  {
    name: 'a departure that waited in memory was requested now',
    file: 'control-plane/departures/requested-departures.ts',
    from: 'return Math.ceil(Math.max(clock.monotonicMs() - atMs, clock.wallMs() - atWallMs));',
    to: 'return Math.min(0, atMs + atWallMs + clock.monotonicMs());',
  },
  {
    name: 'an Envoy whose control plane was stopped is back at once',
    file: GUARDS,
    from: 'return isOver && (isRefused !== true || !stored.subscriptions.some(isOnline));',
    to: 'return isOver && isRefused !== true && stored.subscriptions.some(isOnline);',
  },
  {
    name: 'an Envoy whose control plane crashed is back at once',
    file: GUARDS,
    from: 'return isOver && (isRefused !== true || !stored.subscriptions.some(isOnline));',
    to: 'return isOver && !stored.subscriptions.some(isOnline);',
  },
  {
    name: 'a request to attach is no sign of life',
    file: 'control-plane/engine.ts',
    from: 'if (this.agents.isHeard(key)) {',
    to: 'if (this.agents.isHeard(key) && graceMs < 0) {',
  },
  {
    name: 'a store that was away hides no agent of another replica',
    file: 'control-plane/engine.ts',
    from: 'if (hiddenMs === 0) return undefined;',
    to: 'if (hiddenMs >= 0) return undefined;',
  },
  {
    name: 'a restart between two looks at the control planes is not noticed',
    file: 'control-plane/departures/attempt.ts',
    from: 'if (await this.#hasRestarted()) {',
    to: 'if (record.epoch < 0 && (await this.#hasRestarted())) {',
  },
  {
    name: 'a list from before a run served shows its body',
    file: 'control-plane/evidence/healer.ts',
    from: 'agent.serving && agent.sinceMs <= atMs && isOfRun',
    to: 'isOfRun',
  },
];

/** Of the witnesses: each rule of a lost host switched off. */
const WITNESSES: readonly Mutant[] = [
  {
    name: 'rule 1: agents of a replica that is gone are lost at once',
    file: 'control-plane/agents/return-time.pure.ts',
    from: 'return ',
    to: 'return 0 * ',
    also: [
      {
        file: 'control-plane/witness/orphans.ts',
        from: 'const UNSEEN_MS = 10_000;',
        to: 'const UNSEEN_MS = 0;',
      },
    ],
  },
  {
    name: 'rule 2: any agent is an acquaintance',
    file: 'control-plane/witness/rounds.ts',
    from: 'known: known.filter(({ subject }) => subject !== OWN),',
    to: `known: [...scene.witnesses(suspect.key.mesh).values(), ...known.slice(0, 0)].flatMap(
        ({ subject, address, ...each }) =>
          view.places.map((place) => ({ place: placeText(place), subject, witness: 'witness' in each ? '' : String(address), reachedAtMs: 0 })),
      ),`,
  },
  {
    name: 'rule 3: a witness whose connects are redirected is believed',
    file: 'kernel/tcp-findings.ts',
    from: 'const redirect = isAccepted(evidence.closedPort)',
    to: 'const redirect = evidence.targets.length < 0',
  },
  {
    name: 'rule 3: a witness that reaches no control is believed',
    file: 'kernel/tcp-findings.ts',
    from: `if (control !== undefined && !isAccepted(control.before))
    return 'this host did not reach the control before the look';
  if (control !== undefined && !isAccepted(control.after))
    return 'this host did not reach the control after the look';`,
    to: '',
  },
  {
    name: 'rule 4: one that a witness reaches is not kept',
    file: SUSPICION,
    from: 'const lastReached = rounds.findLastIndex(isReached);',
    to: 'const lastReached = Math.min(-1, rounds.findLastIndex(isReached));',
  },
  {
    name: 'rule 5: one testimony is enough',
    file: SUSPICION,
    from: 'return agents >= 1 && agents + (companionReachedIt ? 1 : 0) >= 2;',
    to: 'return agents >= 1;',
    survives: {
      because: 'the companion has reached nearly all',
      foundBy: [`${WITNESS_TESTS}/suspicion.test.ts`],
    },
  },
  {
    name: 'rule 5: the companion need not have failed as well',
    file: SUSPICION,
    from: 'if (companionReachedIt && !own) return false;',
    to: '',
    survives: {
      because: 'peers reach it as well',
      foundBy: [`${WITNESS_TESTS}/suspicion.test.ts`],
    },
  },
  {
    name: 'rule 5: silence counts at once after any end',
    file: SUSPICION,
    from: "if (isRefused || cause === 'dark')",
    to: 'if (isRefused || cause.length > 0)',
  },
  {
    name: 'rule 5: one that froze is asked about',
    file: SUSPICION,
    from: "if (cause === 'pinged-out')",
    to: 'if (cause.length === 0)',
    survives: {
      because: 'peers reach its port',
      foundBy: [`${WITNESS_TESTS}/suspicion.test.ts`],
    },
  },
  {
    name: 'rule 6: many losses at once are judged one by one',
    file: SUSPICION,
    from: 'if (losses.recent <= FEW_LOSSES) return clear;',
    to: 'if (losses.recent >= 0) return clear;',
    survives: {
      because: 'other agents reach them, or none is left',
      foundBy: [`${WITNESS_TESTS}/suspicion.test.ts`],
    },
  },
  {
    name: 'rule 6: the last ready one of a service may go',
    file: 'control-plane/witness/sidelining-limits.pure.ts',
    from: 'if (isService && ready.size <= (ready.has(name) ? 1 : 0))',
    to: 'if (isService && ready.size < 0)',
  },
  {
    name: 'rule 6: more than half may go',
    file: 'control-plane/witness/sidelining-limits.pure.ts',
    from: 'return out > all * MOST ?',
    to: 'return out > all ?',
    survives: {
      because: 'nothing that serves goes by it alone',
      foundBy: [`${WITNESS_TESTS}/sidelining-limits.test.ts`, `${WITNESS_TESTS}/many-lost.test.ts`],
    },
  },
  {
    name: 'rule 6: who is ready is judged by an old list',
    file: 'control-plane/witness/suspects.ts',
    from: 'const READY_AGE_MS = 100;',
    to: 'const READY_AGE_MS = 16_000;',
  },
  {
    name: 'rule 7: a loss that is over is sidelined all the same',
    file: SIDELINING,
    from: '    isSuspect(record, sidelining) &&\n',
    to: '',
  },
  {
    name: 'rule 7: evidence does not age',
    file: SIDELINING,
    from: 'const EVIDENCE_MS = 20_000;',
    to: 'const EVIDENCE_MS = 20_000_000;',
  },
  {
    name: 'rule 7: an agent that waits until a slow store has recorded its return is sidelined',
    file: SIDELINING,
    from: 'return isReturning ? again',
    to: 'return !isOn ? again',
    also: [
      {
        file: 'control-plane/witness/sidelinings.ts',
        from: 'if (this.#deps.isReturning(key))',
        to: 'if (key.name === "")',
      },
    ],
  },
  {
    name: 'rule 8: one loss is sidelined again and again',
    file: 'control-plane/witness/suspect.pure.ts',
    from: 'return isSameLoss && before.isEffective === true ?',
    to: 'return isSameLoss && before.isEffective === undefined ?',
  },
  {
    name: 'rule 9: one that is back stays out',
    file: SIDELINING,
    from: 'if (!isOn || isBack) return judgeRestoring(given, stored);',
    to: 'if (!isOn) return judgeRestoring(given, stored);',
  },
  {
    name: 'rule 9: one whose address another host has is put back',
    file: 'control-plane/witness/suspects.ts',
    from: 'if (life?.certain !== true) return;',
    to: 'if (life?.reason === "") return;',
    survives: {
      because: 'what ended has no clients',
      foundBy: [`${WITNESS_TESTS}/lost-hosts.test.ts`],
    },
  },
  {
    name: 'rule 9: a late write after the return is not looked for',
    file: SIDELINING,
    from: 'const HELD_MS = 10_000;',
    to: 'const HELD_MS = 0;',
    survives: {
      because: 'a mark that no record knows is found within 16 s',
      foundBy: [`${WITNESS_TESTS}/lost-hosts.test.ts`],
    },
  },
  {
    name: 'rule 10: a mark that no record knows stays',
    file: 'control-plane/witness/stray-marks.ts',
    from: 'if (!isSidelined(resource)) continue;',
    to: 'if (isSidelined(resource)) continue;',
  },
  {
    name: 'rule 11: our own write restarts the waits of a deletion',
    file: SIDELINING,
    from: '  if (before === stored) return stored;',
    to: '  if (before !== undefined) return stored;',
  },
  {
    name: 'rule 12: an agent looks at any address',
    file: 'agent/witness/look-target.pure.ts',
    from: 'return own.has(canonical)',
    to: "return canonical === ''",
  },
  {
    name: 'rule 12: an agent looks as often as it is asked',
    file: 'agent/witness/look-budget.pure.ts',
    from: 'if (busy !== undefined)',
    to: "if (busy === '')",
    also: [
      { file: 'agent/witness/look-budget.pure.ts', from: 'if (tokens < 1)', to: 'if (tokens < -1_000_000)' },
    ],
  },
  {
    name: 'a suspect that no peer has reached counts as ready',
    file: 'control-plane/witness/sidelining-limits.pure.ts',
    from: 'if (isReady && !isDoubted)',
    to: 'if (isReady)',
  },
  {
    name: 'a refused sidelining is tried again whatever has happened since',
    file: SIDELINING,
    from: '    !isBarred &&\n',
    to: '',
  },
  {
    name: 'a deletion does not wait for a late sidelining',
    file: SIDELINING,
    from: 'return unanswered === true && sentAtMs !== undefined && nowMs - sentAtMs < HELD_MS;',
    to: 'return unanswered === true && sentAtMs !== undefined && nowMs < sentAtMs;',
  },
];

export const MUTANTS: readonly Mutant[] = [...EVIDENCE, ...WITNESSES];
