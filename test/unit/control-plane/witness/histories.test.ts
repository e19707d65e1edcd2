import { expect, test } from 'vitest';

import type { MemoryCompanion } from '../../../support/fakes/memory-companion.ts';
import { Owner } from '../../../../proto/gen/deregistrar/v1/deregistrar.ts';
import { isSidelined } from '../../../../kuma/sidelined.ts';
import { WitnessScene, type WitnessHost } from '../../../support/fakes/witness-scene.ts';
import { seededRandom } from '../../../support/replicas/random.ts';

const FAULTS = [
  'killed',
  'silent',
  'agent killed',
  'frozen',
  'peer cut off from it',
  'companion cut off from it',
  'companion cut off from all',
  'liar',
  'mute',
  'companion restarts',
] as const;
type Fault = (typeof FAULTS)[number];

const HOSTS = 6;
/** What a round may be older than the write that follows from it. */
const STALE_MS = 3_000;
const WARM_UP_MS = 30_000;
const CALM_MS = 90_000;

/** One history of a small zone: what happens, and what must never come of it. */
class History {
  readonly violations: string[] = [];
  sidelined = 0;
  readonly #scene = new WitnessScene();
  readonly #random: () => number;
  readonly #hosts: WitnessHost[] = [];
  readonly #reachableSinceMs = new Map<string, number>();
  #companion: MemoryCompanion;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
    this.#companion = this.#scene.companion();
  }

  async run(faults: readonly Fault[]): Promise<this> {
    const { clock, zone } = this.#scene;
    for (let at = 0; at < HOSTS; at += 1)
      this.#hosts.push(
        await this.#scene.serve(`dp-${at}`, { owner: Owner.AGENT, service: at < 4 ? 'web' : 'api' }),
      );
    await clock.pass(WARM_UP_MS);
    for (const { name } of this.#hosts) this.#reachableSinceMs.set(name, 0);
    zone.onChange = (what, { key, resource }) => {
      if (what === 'put' && isSidelined(resource)) this.#check(key.name);
    };
    for (const fault of faults) {
      await this.#happen(fault);
      await clock.pass(this.#random() * 12_000);
      if (this.#random() < 0.3) await this.#bringBack(this.#pick());
    }
    await clock.pass(this.#random() * 20_000);
    await this.#calm();
    await this.#scene[Symbol.asyncDispose]();
    return this;
  }

  /** A port that peers reach, and have reached for a while, is not taken out. */
  #check(name: string): void {
    this.sidelined += 1;
    const sinceMs = this.#reachableSinceMs.get(name);
    const nowMs = this.#scene.clock.monotonicMs();
    if (sinceMs !== undefined && nowMs - sinceMs > STALE_MS)
      this.violations.push(`${name} was reached for ${Math.round(nowMs - sinceMs)} ms, and was sidelined`);
  }

  async #happen(fault: Fault): Promise<void> {
    const host = this.#pick();
    switch (fault) {
      case 'killed':
      case 'silent':
        this.#reachableSinceMs.delete(host.name);
        return this.#scene.lose(host, fault);
      case 'agent killed':
        host.cause = 'closed';
        return host.stream?.lose();
      case 'frozen':
        host.cause = 'pinged-out';
        return host.stream?.lose();
      case 'peer cut off from it':
        host.foundBy.set(this.#pick().address, 'silent');
        host.cause = 'closed';
        return host.stream?.lose();
      case 'companion cut off from it':
        host.foundBy.set('companion', 'silent');
        host.cause = 'dark';
        return host.stream?.lose();
      case 'companion cut off from all':
        for (const each of this.#hosts) {
          each.foundBy.set('companion', 'silent');
          each.cause = 'dark';
          each.stream?.lose();
        }
        return undefined;
      case 'liar':
        host.answer = ({ targets }) => targets.map(() => 'refused');
        return undefined;
      case 'mute':
        host.answer = () => undefined;
        return undefined;
      case 'companion restarts':
        await this.#companion.stop();
        this.#companion = this.#scene.companion();
        this.#scene.companions.splice(0, this.#scene.companions.length, this.#companion);
        await this.#scene.clock.pass(1_000 + this.#random() * 2_000);
        for (const each of this.#hosts)
          if (this.#reachableSinceMs.has(each.name)) await this.#scene.attach(each, { owner: Owner.AGENT });
        return undefined;
    }
  }

  async #bringBack(host: WitnessHost): Promise<void> {
    if (!this.#reachableSinceMs.has(host.name))
      this.#reachableSinceMs.set(host.name, this.#scene.clock.monotonicMs());
    host.found = 'reached';
    host.foundBy.clear();
    await this.#scene.attach(host, { owner: Owner.AGENT });
  }

  async #calm(): Promise<void> {
    for (const host of this.#hosts) await this.#bringBack(host);
    await this.#scene.clock.pass(CALM_MS);
    for (const { name } of this.#hosts) {
      const object = this.#scene.object(name);
      if (object !== undefined && isSidelined(object))
        this.violations.push(`${name} is back, and bears a mark`);
      if (this.#scene.state(name) !== 'Ready')
        this.violations.push(`${name} is back, and is ${this.#scene.state(name) ?? 'gone'}`);
      const { stage = 'released' } = this.#scene.sidelining(name) ?? {};
      if (stage !== 'released') this.violations.push(`${name} is back, and its record is ${stage}`);
    }
    const bugs = this.#companion.log.lines.filter(({ event }) => event === 'deregistrar.failed');
    for (const { fields } of bugs) this.violations.push(`a bug: ${String(fields?.['err'])}`);
  }

  #pick(): WitnessHost {
    const host = this.#hosts[Math.floor(this.#random() * this.#hosts.length)];
    if (host === undefined) throw new TypeError('There is no host');
    return host;
  }
}

test.for(FAULTS)(
  '%s: nothing that peers reach is taken out, and everything that returns is as it was',
  async (fault) => {
    const found: string[] = [];
    let sidelined = 0;
    for (let seed = 1; seed <= 12; seed += 1) {
      const history = await new History(seed).run([fault]);
      found.push(...history.violations.map((each) => `${seed}: ${each}`));
      sidelined += history.sidelined;
    }
    expect(found).toEqual([]);
    expect(sidelined > 0).toBe(fault === 'killed' || fault === 'silent');
  },
);

test('mixes of two to four faults', async () => {
  const found: string[] = [];
  for (let seed = 100; seed < 180; seed += 1) {
    const random = seededRandom(seed);
    const faults = Array.from(
      { length: 2 + Math.floor(random() * 3) },
      () => FAULTS[Math.floor(random() * FAULTS.length)] ?? 'killed',
    );
    const { violations } = await new History(seed).run(faults);
    found.push(...violations.map((each) => `${seed} ${faults.join(', ')}: ${each}`));
  }
  expect(found).toEqual([]);
});
