import type { ControlPlanes, Fence, Store } from '../../control-plane/ports.ts';
import { OperationalError } from '../../kernel/errors.ts';
import type { FakeWire } from '../support/fakes/fake-control-planes.ts';
import type { FakePlane } from '../support/fakes/fake-zone.ts';
import type { Wire } from './history.ts';
import type { SimProcess } from './sim-process.ts';
import type { Timeline } from './timeline.ts';

/** What is wrong with the ways of one process, and until when. */
export class Wires {
  readonly #untilMs = new Map<Wire, number>();
  readonly #timeline: Timeline;
  readonly #random: () => number;

  constructor(timeline: Timeline, random: () => number) {
    this.#timeline = timeline;
    this.#random = random;
  }

  break(fault: Wire, untilMs: number): void {
    this.#untilMs.set(fault, untilMs);
  }

  heal(): void {
    this.#untilMs.clear();
  }

  /** The ways to the store, for the code of `process`. */
  store(process: SimProcess, store: Store): Store {
    const pass: Pass = () => {
      const waiting = process.step(this.#delayMs('store is slow', SLOW_STORE_MS));
      return waiting === undefined ? this.#requireStore() : waiting.then(() => this.#requireStore());
    };
    return interposed(store, pass, (method, given) => {
      if (method === 'whileAlone') return [given[0], keeping(given[1] as ActAlone, pass)];
      return method === 'attempt' || method === 'whileCurrent'
        ? [given[0], fenced(given[1] as Act, pass)]
        : given;
    });
  }

  controlPlanes(process: SimProcess, controlPlanes: ControlPlanes): ControlPlanes {
    return interposed(controlPlanes, () => process.step());
  }

  /** A request that was sent arrives, whatever becomes of its sender. */
  rest(process: SimProcess): FakeWire {
    const arrive = (call: string, plane: FakePlane): void => {
      this.#requirePlane(plane);
      if (call === 'put' && this.#isNow('writes are refused')) throw refused(plane);
    };
    const hear = (plane: FakePlane): void => {
      this.#requirePlane(plane);
      if (this.#isNow('answers are lost') && this.#random() < 0.3) throw unreachable(plane);
    };
    return {
      request: (call, plane) => {
        const delayMs = this.#delayMs('control planes are slow', SLOW_PLANE_MS);
        if (delayMs === 0) return arrive(call, plane);
        return new Promise<void>((resolve) => {
          this.#timeline.after(delayMs, resolve);
        }).then(() => arrive(call, plane));
      },
      answer: (_call, plane) => {
        const waiting = process.step(this.#delayMs('control planes are slow', SLOW_PLANE_MS));
        return waiting === undefined ? hear(plane) : waiting.then(() => hear(plane));
      },
    };
  }

  #requireStore(): void {
    if (this.#isNow('store is cut off')) throw storeAway();
  }

  #requirePlane(plane: FakePlane): void {
    if (this.#isNow('control planes are out of reach') || !plane.isUp) throw unreachable(plane);
  }

  #isNow(fault: Wire): boolean {
    return this.#timeline.monotonicMs() < (this.#untilMs.get(fault) ?? 0);
  }

  /** Most are quick even then; a few take very long. */
  #delayMs(fault: Wire, mostMs: number): number {
    return this.#isNow(fault) ? mostMs * this.#random() ** 3 : 0;
  }
}

/** Something that a call passes; without a promise it is passed at once. */
type Pass = () => Promise<void> | void;
type Act = (record: never, fence: Fence) => Promise<unknown>;

const SLOW_STORE_MS = 4_000;
const SLOW_PLANE_MS = 8_000;

/** What is done while a name is held leaves the process as well; without the store, nothing of it is written down. */
function fenced(act: Act, pass: Pass): Act {
  return async (record, fence) => {
    const result = await act(record, {
      ...fence,
      keepBody: async (body) => {
        await pass();
        await fence.keepBody(body);
        await pass();
      },
      alone: async (what) => {
        await pass();
        await fence.alone(what);
        await pass();
      },
    });
    await pass();
    return result;
  };
}

type ActAlone = Parameters<Store['whileAlone']>[1];

/** As {@link fenced}, for a sidelining that is written down before a request is sent. */
function keeping(act: ActAlone, pass: Pass): ActAlone {
  return async (alone) => {
    const keep: typeof alone.keep = async (sidelining) => {
      await pass();
      await alone.keep(sidelining);
      await pass();
    };
    const result = await act({ ...alone, keep });
    await pass();
    return result;
  };
}

/** A port of which each call passes something before and after. */
function interposed<Port extends object>(
  port: Port,
  pass: Pass,
  change: (method: string, given: readonly unknown[]) => readonly unknown[] = (_method, given) => given,
): Port {
  const members = new Map<string | symbol, unknown>();
  const answered = (result: unknown): unknown => pass()?.then(() => result) ?? result;
  return new Proxy(port, {
    get(target, method) {
      const known = members.get(method);
      if (known !== undefined) return known;
      const member: unknown = Reflect.get(target, method);
      if (typeof member !== 'function' || method === 'close') return member;
      const apply = (given: readonly unknown[]): Promise<unknown> =>
        (Reflect.apply(member, target, change(String(method), given)) as Promise<unknown>).then(answered);
      // `async` turns what a pass throws at once into a rejection.
      const call = async (...given: readonly unknown[]): Promise<unknown> => {
        const before = pass();
        if (before !== undefined) await before;
        return apply(given);
      };
      members.set(method, call);
      return call;
    },
  });
}

function storeAway(): OperationalError {
  return new OperationalError('STORE_UNAVAILABLE', 'Cannot use the store: the connection was lost');
}

function unreachable({ url }: FakePlane): OperationalError {
  return new OperationalError('ENDPOINT_UNREACHABLE', `Cannot reach ${url}: connection reset`);
}

function refused({ url }: FakePlane): OperationalError {
  return new OperationalError('ENDPOINT_BUSY', `Cannot write at ${url}: its database is read-only`);
}
