import { fromLook, toTestimony } from '../../agent/companion/companion-messages.io.ts';
import { LookingWitness } from '../../agent/witness/witness.ts';
import { agentEvents } from '../../agent/events.ts';
import type { LookFinding } from '../../kernel/tcp-findings.ts';
import type { Look, Testimony } from '../../proto/gen/deregistrar/v1/deregistrar.ts';
import { FakeLog } from '../support/fake-log.ts';
import type { SimProcess } from './sim-process.ts';
import { COMPANION_ADDRESS, PLANE_ADDRESS, type SimReach } from './sim-reach.ts';

/** What is wrong with a witness. */
export type Flaw = 'says refused' | 'says silent' | 'says reached' | 'answers late';

const LATE_MS = 3_000;

/** The agent's own code that looks, on a network that is not there. */
export class SimWitness {
  readonly #looking: LookingWitness;
  readonly #process: SimProcess;

  constructor(process: SimProcess, address: string, reach: SimReach) {
    this.#process = process;
    this.#looking = new LookingWitness({
      clock: process,
      events: agentEvents(new FakeLog()),
      connect: (target) => reach.connect(address, target),
      ownAddresses: () => Promise.resolve(new Set([address, COMPANION_ADDRESS, PLANE_ADDRESS])),
    });
  }

  /** @param flaw as of its answer */
  async testify(look: Look, flaw: () => Flaw | undefined): Promise<Testimony | undefined> {
    const findings = await this.#looking.look(fromLook(look));
    const found = flaw();
    if (found === 'answers late')
      await new Promise<void>((resolve) => {
        this.#process.after(LATE_MS, resolve);
      });
    const { message } = toTestimony(
      look.id,
      findings.map((finding) => bent(finding, found)),
    );
    return message?.$case === 'testimony' ? message.value : undefined;
  }
}

function bent(finding: LookFinding, flaw: Flaw | undefined): LookFinding {
  switch (flaw) {
    case 'says refused':
      return { ...finding, result: 'refused', reason: '' };
    case 'says silent':
      return { ...finding, result: 'silent', reason: '' };
    case 'says reached':
      return { ...finding, result: 'reached', reason: '' };
    case 'answers late':
    case undefined:
      return finding;
  }
}
