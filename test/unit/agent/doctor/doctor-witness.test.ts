import { expect, test } from 'vitest';

import { examineWitness } from '../../../../agent/doctor/doctor-witness.ts';
import type { DataplaneResource } from '../../../../kuma/dataplane.ts';
import type { Connecting } from '../../../../kernel/tcp-contact.ts';
import type { ConnectOutcome, Target } from '../../../../kernel/tcp-findings.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

const PROXIED = {
  type: 'Dataplane',
  name: 'web-1',
  networking: { transparentProxying: { redirectPortOutbound: 15_001 } },
};

test.for<{
  what: string;
  resource: DataplaneResource;
  outcome: ConnectOutcome;
  findings: number;
  connects: number;
}>([
  { what: 'a redirect', resource: PROXIED, outcome: 'accepted', findings: 1, connects: 1 },
  { what: 'an agent that is excluded', resource: PROXIED, outcome: 'no answer', findings: 0, connects: 2 },
  { what: 'a refusal', resource: PROXIED, outcome: { code: 'ENETUNREACH' }, findings: 0, connects: 2 },
  {
    what: 'no transparent proxy',
    resource: { type: 'Dataplane', name: 'web-1' },
    outcome: 'accepted',
    findings: 0,
    connects: 0,
  },
])(
  'the doctor on $what: $findings findings, $connects connects',
  async ({ resource, outcome, ...expected }) => {
    const clock = new FakeClock();
    const targets: Target[] = [];
    const connect = (target: Target): Connecting => {
      targets.push(target);
      const settled = outcome === 'no answer' ? new Promise<void>(() => {}) : Promise.resolve();
      return { settled, outcome: () => outcome, close: () => {} };
    };
    let findings: number | undefined;
    void examineWitness(resource, { clock, connect }).then((found) => {
      findings = found.length;
    });
    await clock.passUntil(() => findings !== undefined);
    expect({ findings, connects: targets.length }).toEqual({
      findings: expected.findings,
      connects: expected.connects,
    });
  },
);
