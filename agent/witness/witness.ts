import { sleep } from '../../kernel/clock.ts';
import type { AgentEvents } from '../events.ts';
import type { LookRequest, Witness } from '../ports.ts';
import type { ContactDeps } from '../../kernel/tcp-contact.ts';
import { LOOK_RESULTS, unable, type LookFinding, type Target } from '../../kernel/tcp-findings.ts';
import { lookByTcp } from '../../kernel/tcp-look.ts';
import type { LookCounts } from './look-counts.pure.ts';
import { canonicalAddress, refusalOf } from './look-target.pure.ts';
import { fullBudget, LOOK_LIMITS, takeLook, type LookBudget } from './look-budget.pure.ts';

export interface WitnessDeps extends ContactDeps {
  readonly events: AgentEvents;
  /** Canonical addresses of this host, of companions and of control planes. Never rejects. */
  readonly ownAddresses: () => Promise<ReadonlySet<string>>;
}

/** A look takes three contacts, one after the other. No companion waits longer than this. */
const LONGEST_MS = 5_000;
/** Each has up to 18 connections under way. */
const LOOKS_UNDER_WAY = 32;

/** Looks at other dataplanes for the companion, as a peer of them would connect. */
export class LookingWitness implements Witness {
  readonly #deps: WitnessDeps;
  readonly #counts: Record<keyof LookCounts, number> = {
    reached: 0,
    refused: 0,
    silent: 0,
    unable: 0,
    refusals: 0,
  };
  #budget: LookBudget;
  #underWay = 0;
  #isRefusalSaid = false;
  #isInabilitySaid = false;

  constructor(deps: WitnessDeps) {
    this.#deps = deps;
    this.#budget = fullBudget(deps.clock.monotonicMs());
  }

  get counts(): LookCounts {
    return this.#counts;
  }

  async look(request: LookRequest): Promise<readonly LookFinding[]> {
    const findings = await this.#lookOrRefuse(request);
    for (const result of LOOK_RESULTS)
      this.#counts[result] += findings.filter((each) => each.result === result).length;
    return findings;
  }

  async #lookOrRefuse(request: LookRequest): Promise<readonly LookFinding[]> {
    if (this.#underWay >= LOOKS_UNDER_WAY) {
      const refusal = `more than ${LOOKS_UNDER_WAY} looks at once`;
      this.#sayRefusal(refusal, request.targets[0]);
      return refuseAll(request, refusal);
    }
    this.#underWay += 1;
    try {
      const refusals = await this.#refusals(request);
      if (typeof refusals === 'string') return refuseAll(request, refusals);
      return await this.#lookWhere(request, refusals);
    } finally {
      this.#underWay -= 1;
    }
  }

  /** @returns why it does not look at all, or for each target why it does not look at that one */
  async #refusals(request: LookRequest): Promise<string | readonly (string | undefined)[]> {
    const { targets, control } = request;
    const own = await this.#deps.ownAddresses();
    const each = targets.map((target) => refusalOf(target, own));
    const all = this.#refusalOfAll(request, { own, each });
    const said = all ?? each.find((refusal) => refusal !== undefined);
    if (said !== undefined) this.#sayRefusal(said, control ?? targets[0]);
    return all ?? each;
  }

  #refusalOfAll(
    { targets, control }: LookRequest,
    { own, each }: { readonly own: ReadonlySet<string>; readonly each: readonly (string | undefined)[] },
  ): string | undefined {
    if (targets.length > LOOK_LIMITS.targets) return `more than ${LOOK_LIMITS.targets} ports`;
    const ofControl = control === undefined ? undefined : refusalOf(control, own);
    if (ofControl !== undefined) return `the control: ${ofControl}`;
    const allowed = targets.filter((_target, at) => each[at] === undefined);
    if (allowed.length === 0) return undefined;
    const addresses = new Set(
      [...allowed, ...(control === undefined ? [] : [control])].map(
        ({ address }) => canonicalAddress(address) ?? address,
      ),
    );
    const taken = takeLook(this.#budget, [...addresses], this.#deps.clock.monotonicMs());
    if ('refused' in taken) return taken.refused;
    this.#budget = taken.budget;
    return undefined;
  }

  #sayRefusal(reason: string, at: Target | undefined): void {
    this.#counts.refusals += 1;
    if (!this.#isRefusalSaid) this.#deps.events.lookRefused(reason, at);
    this.#isRefusalSaid = true;
  }

  async #lookWhere(
    request: LookRequest,
    refusals: readonly (string | undefined)[],
  ): Promise<readonly LookFinding[]> {
    const allowed = request.targets.filter((_target, at) => refusals[at] === undefined);
    const findings =
      allowed.length === 0 ? [] : [...(await this.#lookWithin({ ...request, targets: allowed }))];
    return request.targets.map((target, at) => {
      const refusal = refusals[at];
      return refusal === undefined
        ? (findings.shift() ?? unable(target, 'not looked at'))
        : unable(target, refusal);
    });
  }

  async #lookWithin(request: LookRequest): Promise<readonly LookFinding[]> {
    const { clock } = this.#deps;
    const over = new AbortController();
    const tooLate = sleep(clock, Math.min(LONGEST_MS, request.timeoutMs), over.signal).then(
      () => refuseAll(request, 'the time for the look was over'),
      () => [],
    );
    try {
      const findings = await Promise.race([lookByTcp(this.#deps, request, over.signal), tooLate]);
      this.#sayInability(findings);
      return findings;
    } finally {
      over.abort(new Error('The look is over'));
    }
  }

  #sayInability(findings: readonly LookFinding[]): void {
    const first = findings.find(({ result }) => result === 'unable');
    if (first !== undefined && !this.#isInabilitySaid)
      this.#deps.events.witnessUnable(first.reason, first.target);
    this.#isInabilitySaid = first !== undefined;
  }
}

function refuseAll({ targets }: LookRequest, reason: string): readonly LookFinding[] {
  return targets.map((target) => unable(target, reason));
}
