import { lookup } from 'node:dns/promises';

import { pause, type Clock } from '../../kernel/clock.ts';
import { ownAddresses } from '../../program/own-addresses.ts';
import { canonicalAddress } from './look-target.pure.ts';

/** A moved companion is known by its new address after this time. */
const FRESH_MS = 60_000;
/** How long the first look waits for the name server. */
const PATIENCE_MS = 500;

/**
 * The addresses of this host, of companions and of control planes. Names are looked up in the background; if that
 * fails, the earlier addresses stay in use.
 */
export class OwnAddresses {
  readonly #clock: Clock;
  readonly #hosts: readonly string[];
  readonly #found = new Map<string, readonly string[]>();
  #lookedUpMs: number | undefined;
  #lookUp: Promise<void> = Promise.resolve();

  /** @param hosts names and addresses of companions and control planes, IPv6 with or without brackets */
  constructor(clock: Clock, hosts: readonly string[]) {
    this.#clock = clock;
    this.#hosts = [...new Set(hosts.map((host) => host.replace(/^\[|\]$/g, '')))];
  }

  /** Canonical. Never rejects. */
  async read(): Promise<ReadonlySet<string>> {
    const nowMs = this.#clock.monotonicMs();
    const isFirst = this.#lookedUpMs === undefined;
    if (this.#lookedUpMs === undefined || nowMs - this.#lookedUpMs > FRESH_MS) {
      this.#lookedUpMs = nowMs;
      this.#lookUp = this.#lookUpAll();
    }
    if (isFirst) await this.#within(PATIENCE_MS, this.#lookUp);
    return new Set(
      [...this.#found.values(), ownAddresses()]
        .flat()
        .flatMap((address) => canonicalAddress(address.replace(/%.*$/, '')) ?? []),
    );
  }

  async #lookUpAll(): Promise<void> {
    await Promise.all(
      this.#hosts.map(async (host) => {
        const found = await lookup(host, { all: true }).catch(() => []);
        if (found.length > 0)
          this.#found.set(
            host,
            found.map(({ address }) => address),
          );
      }),
    );
  }

  async #within(ms: number, work: Promise<void>): Promise<void> {
    const done = new AbortController();
    await Promise.race([work, pause(this.#clock, ms, done.signal)]);
    done.abort(new Error('Looked up'));
  }
}
