import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import {
  judgeLook,
  type ConnectOutcome,
  type Contact,
  type LookEvidence,
  type LookResult,
} from '../../../kernel/tcp-findings.ts';

const TARGET = { address: '10.0.0.7', port: 8_080 };
const REFUSED: ConnectOutcome = { code: 'ECONNREFUSED' };

function contact(...outcomes: readonly ConnectOutcome[]): Contact {
  return { outcomes, latenessMs: 0 };
}

const REACHED = contact('accepted');
const CONTROL = { before: REACHED, after: REACHED };
const CLOSED = contact(REFUSED, REFUSED);

function judged(target: Contact, around: Partial<LookEvidence> = {}): LookResult | undefined {
  const evidence = { control: CONTROL, closedPort: CLOSED, ...around };
  return judgeLook({ ...evidence, targets: [{ target: TARGET, contact: target }] })[0]?.result;
}

/** Whether anything speaks against an accusation. */
function isDoubtful({ control, closedPort, targets }: LookEvidence, at: number): boolean {
  const found = targets[at]?.contact ?? contact();
  const ofThisHost = found.outcomes.some(
    (each) => typeof each === 'object' && !['ECONNREFUSED', 'EHOSTUNREACH'].includes(each.code),
  );
  const around = control === undefined ? [] : [control.before, control.after];
  return (
    ofThisHost ||
    found.outcomes.includes('accepted') ||
    found.latenessMs > 100 ||
    closedPort?.outcomes.includes('accepted') === true ||
    around.some(({ outcomes }) => !outcomes.includes('accepted'))
  );
}

describe('a testimony', () => {
  test.for<[what: string, target: Contact, result: LookResult]>([
    ['accepted at once', contact('accepted'), 'reached'],
    ['accepted by the second connect', contact('no answer', 'accepted'), 'reached'],
    ['accepted after a refusal', contact(REFUSED, 'accepted'), 'reached'],
    ['refused twice', contact(REFUSED, REFUSED), 'refused'],
    ['no answer twice', contact('no answer', 'no answer'), 'silent'],
    ['refused, then no answer', contact(REFUSED, 'no answer'), 'silent'],
    ['a neighbour that does not answer', contact('no answer', { code: 'EHOSTUNREACH' }), 'silent'],
    ['the kernel gave up', contact({ code: 'ETIMEDOUT' }, 'no answer'), 'silent'],
    ['no port left', contact('no answer', { code: 'EADDRNOTAVAIL' }), 'unable'],
    ['no descriptor left', contact({ code: 'EMFILE' }, REFUSED), 'unable'],
    ['no route', contact({ code: 'ENETUNREACH' }, 'no answer'), 'unable'],
    ['a local firewall', contact({ code: 'EPERM' }, { code: 'EPERM' }), 'unable'],
    ['an error of no known kind', contact(REFUSED, { code: 'EWHATEVER' }), 'unable'],
  ])('%s', ([, target, result]) => {
    expect(judged(target)).toBe(result);
  });

  const silent = contact('no answer', 'no answer');

  test.for<[what: string, around: Partial<LookEvidence>, result: LookResult]>([
    ['a control that is reached before and after', {}, 'silent'],
    ['no control, since the mesh has no other host', { control: undefined, closedPort: undefined }, 'silent'],
    ['a closed port without an answer', { closedPort: silent }, 'silent'],
    ['a control that is not reached before', { control: { before: silent, after: REACHED } }, 'unable'],
    ['a control that is not reached after', { control: { before: REACHED, after: CLOSED } }, 'unable'],
    ['a closed port that answers', { closedPort: REACHED }, 'unable'],
    [
      'a timer of the control 101 ms late',
      { control: { before: REACHED, after: { ...REACHED, latenessMs: 101 } } },
      'unable',
    ],
    ['a timer 100 ms late', { closedPort: { ...CLOSED, latenessMs: 100 } }, 'silent'],
  ])('with %s', ([, around, result]) => {
    expect(judged(silent, around)).toBe(result);
  });

  test('reports a redirect even if the target seems to answer', () => {
    expect(judged(contact('accepted'), { closedPort: REACHED })).toBe('unable');
  });

  test('keeps a reached target, whatever else is unknown on this host', () => {
    expect(
      judged({ outcomes: ['accepted'], latenessMs: 900 }, { control: { before: silent, after: silent } }),
    ).toBe('reached');
  });

  test('accuses only on evidence without a doubt', () => {
    const outcome = fc.oneof(
      fc.constantFrom<ConnectOutcome>('accepted', 'no answer'),
      fc
        .constantFrom('ECONNREFUSED', 'EHOSTUNREACH', 'EMFILE', 'ENETUNREACH', 'EPERM')
        .map((code) => ({ code })),
    );
    const anyContact = fc.record({ outcomes: fc.array(outcome, { maxLength: 2 }), latenessMs: fc.nat(300) });
    const evidence = fc.record({
      control: fc.option(fc.record({ before: anyContact, after: anyContact }), { nil: undefined }),
      closedPort: fc.option(anyContact, { nil: undefined }),
      targets: fc.array(fc.record({ target: fc.constant(TARGET), contact: anyContact }), { maxLength: 8 }),
    });
    fc.assert(
      fc.property(evidence, (given) => {
        const findings = judgeLook(given);
        expect(findings).toHaveLength(given.targets.length);
        for (const [at, { result, reason }] of findings.entries()) {
          expect(reason === '').toBe(result !== 'unable');
          const outcomes = given.targets[at]?.contact.outcomes ?? [];
          expect(outcomes.includes('accepted') || result !== 'reached').toBe(true);
          const accuses = result === 'refused' || result === 'silent';
          expect(accuses && isDoubtful(given, at)).toBe(false);
          const isRefused = outcomes.some((each) => typeof each === 'object' && each.code === 'ECONNREFUSED');
          expect(isRefused || result !== 'refused').toBe(true);
        }
      }),
    );
  });
});
