import { Fact } from '../../kernel/fact.ts';
import type { ObjectKeeper } from '../object/keeper.ts';
import type { UsedProxy } from '../identity/used-proxy.pure.ts';
import type { EnvoyAdmin, KumaDpReadiness } from '../ports.ts';
import type { KumaDpProcess } from './kuma-dp-process.ts';
import type { StateNote } from './stop-report.pure.ts';

/** Facts about the dataplane that a stop needs. */
export interface SupervisedDataplane {
  readonly label: string;
  readonly lifecycle: string;
  readonly proxy: UsedProxy;
  readonly readiness: KumaDpReadiness;
  /** `undefined`: nothing can be deregistered; everything else works as usual. */
  readonly registration: ObjectKeeper | undefined;
  /** Why there is no registration. */
  readonly unregisteredBecause: string;
  /** The rest of the time that peers need to drop a dataplane which was out of rotation already. */
  readonly settleLeftMs?: () => number;
  /** Receives each change that another process must know if this one is killed; `undefined` without a registration. */
  readonly notes?: { note(note: StateNote): void };
}

export interface SeenEnvoy {
  /** `undefined` where Envoy runs but cannot be asked. */
  readonly admin: EnvoyAdmin | undefined;
}

/** The facts of one run, which become known in any order, and the run's progress. */
export class RunFacts {
  readonly incarnation: string;
  readonly kumaDp = new Fact<KumaDpProcess>();
  readonly dataplane = new Fact<SupervisedDataplane>();
  readonly envoy = new Fact<SeenEnvoy>();
  readonly #stopping = new AbortController();
  readonly #over = new AbortController();

  constructor(incarnation: string) {
    this.incarnation = incarnation;
  }

  /** Aborts when a stop begins: preparing and registering must not continue beside it. */
  get stopping(): AbortSignal {
    return this.#stopping.signal;
  }

  /** Aborts when kuma-dp has ended, or will never be started. */
  get over(): AbortSignal {
    return this.#over.signal;
  }

  beginStop(reason: string): void {
    this.#stopping.abort(new Error(reason));
  }

  end(): void {
    this.beginStop('The run is over');
    this.#over.abort(new Error('kuma-dp has ended'));
  }
}
