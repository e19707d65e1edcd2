import type { Connecting } from '../../kernel/tcp-contact.ts';
import type { ConnectOutcome, Target } from '../../kernel/tcp-findings.ts';
import type { SimHost } from './sim-host.ts';
import type { Timeline } from './timeline.ts';

/**
 * What keeps connects from a host, and until when.
 *
 * - `dark`: its link is down; nothing gets in or out.
 * - `frozen`: the machine stands still, as in a live migration; so do its processes.
 * - `firewall resets`, `firewall drops`: a firewall in front of it fails over.
 * - `full`: its accept queue or a conntrack table is full. Pooled clients are served, new connects are dropped.
 * - `clients only`: a rule admits only hosts that call its services.
 * - `outsiders only`: a rule admits only clients that run no agent.
 * - `connects out`: its own new connects are dropped, as by a conntrack table that is full.
 */
export type Barrier =
  | 'dark'
  | 'frozen'
  | 'firewall resets'
  | 'firewall drops'
  | 'full'
  | 'clients only'
  | 'outsiders only'
  | 'connects out';

/** Where a companion's own looks come from. */
export const COMPANION = 'companion';

/** An agent connects to none of these: itself, a cloud's metadata, a group, the companion, a control plane. */
export const COMPANION_ADDRESS = '10.0.1.1';
export const PLANE_ADDRESS = '10.0.1.2';
export const FORBIDDEN = ['127.0.0.1', '169.254.169.254', '224.0.0.1', COMPANION_ADDRESS, PLANE_ADDRESS];
/** Ten looks a second, each with two connects, and a control before and after it. */
const MOST_CONNECTS_A_SECOND = 80;

const TRAVEL_MS = 1;
/** Nothing that real clients use comes through these. */
const TOTAL: readonly Barrier[] = ['dark', 'frozen', 'firewall resets', 'firewall drops'];

/** Who reaches whose ports: the truth, of which witnesses see a part. */
export class SimReach {
  readonly #timeline: Timeline;
  readonly #hosts: readonly SimHost[];
  readonly #barriers = new Map<string, number>();
  /** From whom to whom, one way. */
  readonly #cuts = new Map<string, number>();
  /** Addresses whose connects are redirected to what accepts everything. */
  readonly #redirected = new Map<string, number>();
  /** Addresses that another machine has taken. */
  readonly #taken = new Set<string>();
  /** What a witness must not do. */
  onMisuse: (what: string) => void = () => {};
  /** Of the current second, by witness and address. */
  #connects = { second: 0, counts: new Map<string, number>() };

  constructor(timeline: Timeline, hosts: readonly SimHost[]) {
    this.#timeline = timeline;
    this.#hosts = hosts;
  }

  bar(barrier: Barrier, host: SimHost, forMs: number): void {
    this.#barriers.set(`${barrier} ${host.address}`, this.#nowMs + forMs);
  }

  cut(from: string, to: SimHost, forMs: number): void {
    this.#cuts.set(`${from} ${to.address}`, this.#nowMs + forMs);
  }

  redirect(from: SimHost, forMs: number): void {
    this.#redirected.set(from.address, this.#nowMs + forMs);
  }

  /** Another machine listens at the address of `host`, for as long as that one is away. */
  take(host: SimHost): void {
    this.#taken.add(host.address);
  }

  isBarred(barrier: Barrier, host: SimHost): boolean {
    return this.#nowMs < (this.#barriers.get(`${barrier} ${host.address}`) ?? 0);
  }

  /** Everything is open but what was closed from the beginning. */
  heal(): void {
    for (const ends of [this.#barriers, this.#cuts, this.#redirected])
      for (const [name, untilMs] of ends)
        if (Number.isFinite(untilMs)) ends.set(name, Math.min(untilMs, this.#nowMs));
    this.#taken.clear();
  }

  /** Since when real clients have been served by it; `undefined` while they are not. */
  servedSinceMs(host: SimHost): number | undefined {
    const { run } = host;
    if (run === undefined || run.envoy.isDead || run.envoy.isPaused || !run.serving) return undefined;
    const ends = TOTAL.map((barrier) => this.#barriers.get(`${barrier} ${host.address}`) ?? 0);
    const sinceMs = Math.max(run.servingSinceMs, ...ends);
    return sinceMs > this.#nowMs ? undefined : sinceMs;
  }

  /** A connect from `from`, as a witness makes it. */
  connect(from: string, { address, port }: Target): Connecting {
    if (from !== COMPANION) this.#judge(from, address);
    const found = this.#find(from, { address, port });
    let outcome: ConnectOutcome = 'no answer';
    const settled = new Promise<void>((resolve) => {
      if (found === 'no answer') return;
      this.#timeline.after(TRAVEL_MS, () => {
        outcome = found;
        resolve();
      });
    });
    return { settled, outcome: () => outcome, close: () => {} };
  }

  #judge(from: string, address: string): void {
    if (address === from || FORBIDDEN.includes(address)) this.onMisuse(`${from} connected to ${address}`);
    const second = Math.floor(this.#nowMs / 1_000);
    if (second !== this.#connects.second) this.#connects = { second, counts: new Map() };
    const { counts } = this.#connects;
    const count = (counts.get(`${from} ${address}`) ?? 0) + 1;
    counts.set(`${from} ${address}`, count);
    if (count === 2 * MOST_CONNECTS_A_SECOND)
      this.onMisuse(`${from} connected to ${address} ${count} times in a second`);
  }

  #find(from: string, { address, port }: Target): ConnectOutcome {
    if (this.#nowMs < (this.#redirected.get(from) ?? 0)) return 'accepted';
    const witness = this.#hosts.find((each) => each.address === from);
    const host = this.#hosts.find((each) => each.address === address);
    if (host === undefined || this.#isCut(from, address) || this.#isMute(witness)) return 'no answer';
    return this.#answer(host, port, witness?.calls.includes(host.service) !== true);
  }

  #answer(host: SimHost, port: number, isStranger: boolean): ConnectOutcome {
    const isAway = this.#isAway(host);
    const isGone = isAway || host.run?.envoy.isDead !== false;
    if (isGone && this.#taken.has(host.address)) return 'accepted';
    if (isAway) return 'no answer';
    return this.#barredAt(host, isStranger) ?? (isGone || port !== host.port ? REFUSED : 'accepted');
  }

  #isCut(from: string, address: string): boolean {
    return this.#nowMs < (this.#cuts.get(`${from} ${address}`) ?? 0);
  }

  /** Nothing that it sends arrives. */
  #isMute(witness: SimHost | undefined): boolean {
    return witness !== undefined && (this.#isAway(witness) || this.isBarred('connects out', witness));
  }

  /** What a firewall or a full table makes of a connect; `undefined` if there is none. */
  #barredAt(host: SimHost, isStranger: boolean): ConnectOutcome | undefined {
    if (this.isBarred('firewall resets', host)) return REFUSED;
    const barriers: readonly Barrier[] = ['firewall drops', 'outsiders only', 'full'];
    const isDropped =
      barriers.some((barrier) => this.isBarred(barrier, host)) ||
      (isStranger && this.isBarred('clients only', host));
    return isDropped ? 'no answer' : undefined;
  }

  /** Its kernel answers nothing. */
  #isAway(host: SimHost): boolean {
    return this.isBarred('dark', host) || this.isBarred('frozen', host) || host.hasNoPower;
  }

  get #nowMs(): number {
    return this.#timeline.monotonicMs();
  }
}

const REFUSED: ConnectOutcome = { code: 'ECONNREFUSED' };
