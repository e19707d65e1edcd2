import type { InstanceLook } from '../../../control-plane/control-planes/instance-look.pure.ts';
import type { ControlPlanes, OverviewLook, OverviewPage } from '../../../control-plane/ports.ts';
import { OperationalError } from '../../../kernel/errors.ts';
import type { DataplaneKey, DataplaneResource } from '../../../kuma/dataplane.ts';
import { servicesOf } from '../../../kuma/services.ts';
import type { FakePlane, FakeZone } from './fake-zone.ts';

/** The connection between one companion and the control planes. The caller gets any error that it throws. */
export interface FakeWire {
  /** Before a request arrives; for a write, after its last check. */
  request(call: string, plane: FakePlane): Promise<void> | void;
  /** After the request was carried out. */
  answer(call: string, plane: FakePlane): Promise<void> | void;
}

const DIRECT: FakeWire = { request: () => {}, answer: () => {} };

/** A zone as one companion sees it, through those of its control planes that it names. */
export class FakeControlPlanes implements ControlPlanes {
  readonly #zone: FakeZone;
  readonly #named: readonly FakePlane[];
  readonly #wire: FakeWire;

  constructor(zone: FakeZone, named: readonly FakePlane[] = zone.planes, wire: FakeWire = DIRECT) {
    this.#zone = zone;
    this.#named = named;
    this.#wire = wire;
  }

  look(signal: AbortSignal): Promise<readonly InstanceLook[]> {
    return Promise.all(
      this.#named.map(async (plane) => {
        const { url } = plane;
        try {
          return {
            url,
            seen: {
              facts: await until(
                signal,
                this.#ask('look', plane, () => plane.facts),
              ),
            },
          };
        } catch (error) {
          return { url, seen: { problem: error instanceof Error ? error.message : 'no answer' } };
        }
      }),
    );
  }

  overview(key: DataplaneKey): Promise<OverviewLook> {
    return this.#first('overview', (plane) => ({
      overview: this.#zone.overview(key),
      clockMs: clockOf(plane),
    }));
  }

  overviews(): Promise<OverviewPage> {
    return this.#first('overviews', (plane) => ({
      overviews: this.#zone.overviews(),
      clockMs: clockOf(plane),
    }));
  }

  read(key: DataplaneKey): Promise<DataplaneResource | undefined> {
    return this.#first('read', () => this.#zone.find(key)?.resource);
  }

  hasSibling(key: DataplaneKey, service: string): Promise<boolean> {
    return this.#first('hasSibling', () =>
      this.#zone
        .overviews()
        .some(
          ({ mesh, name, resource }) =>
            mesh === key.mesh && name !== key.name && servicesOf(resource).includes(service),
        ),
    );
  }

  async put(
    key: DataplaneKey,
    resource: DataplaneResource,
    { beforeSend }: { readonly beforeSend: () => void },
  ): Promise<void> {
    await this.#first(
      'put',
      (plane) => {
        this.#zone.put(key, resource, plane);
      },
      beforeSend,
    );
  }

  delete(key: DataplaneKey, beforeSend: () => void): Promise<'deleted' | 'already gone'> {
    return this.#first(
      'delete',
      () => (this.#zone.delete(key, 'rest') ? 'deleted' : 'already gone'),
      beforeSend,
    );
  }

  close(): void {}

  /** Asks the first control plane that answers. */
  async #first<T>(call: string, act: (plane: FakePlane) => T, beforeSend?: () => void): Promise<T> {
    let failure: unknown = unreachable('a control plane');
    for (const plane of this.#named) {
      try {
        beforeSend?.();
        return await this.#ask(call, plane, () => act(plane));
      } catch (error) {
        if (!(error instanceof OperationalError) || error.code !== 'ENDPOINT_UNREACHABLE') throw error;
        failure = error;
      }
    }
    throw failure;
  }

  async #ask<T>(call: string, plane: FakePlane, act: () => T): Promise<T> {
    const sent = this.#wire.request(call, plane);
    if (sent !== undefined) await sent;
    if (!plane.isUp) throw unreachable(plane.url);
    const answer = act();
    const answered = this.#wire.answer(call, plane);
    if (answered !== undefined) await answered;
    return answer;
  }
}

function unreachable(what: string): OperationalError {
  return new OperationalError('ENDPOINT_UNREACHABLE', `Cannot reach ${what}: connection refused`);
}

/** Gives up for the caller; the request continues. */
function until<T>(signal: AbortSignal, asked: Promise<T>): Promise<T> {
  const givenUp = Promise.withResolvers<never>();
  const giveUp = (): void => {
    givenUp.reject(signal.reason);
  };
  signal.addEventListener('abort', giveUp, { once: true });
  return Promise.race([asked, givenUp.promise]).finally(() => {
    signal.removeEventListener('abort', giveUp);
  });
}

/** As the Date header has it. */
function clockOf({ nowMs }: FakePlane): number {
  return Math.floor(nowMs / 1_000) * 1_000;
}
