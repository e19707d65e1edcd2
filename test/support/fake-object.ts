import type { EndpointAttempt, Confirmation, Departure, Endpoint } from '../../agent/ports.ts';
import { sleep, type Clock } from '../../kernel/clock.ts';
import { OperationalError } from '../../kernel/errors.ts';
import { DEFAULT_FACTS, type ControlPlaneFacts } from '../../kuma/control-plane.ts';
import type { DataplaneResource } from '../../kuma/dataplane.ts';
import { madeOf, nextObject, type Made, type Want } from '../../kuma/object-wish.ts';
import { portsOf, stateOf } from '../../kuma/port-states.ts';

/**
 * One object at a control plane. A test sets how late it answers; it carries out a PUT whether a caller waits or not.
 */
export class FakeObject implements Endpoint {
  readonly url = 'https://cp:5682';
  stored: DataplaneResource | undefined;
  /** How long a write takes until it is carried out and answered. */
  writeMs = 0;
  /** It answers nothing, but still carries out writes. */
  mute = false;
  broken = false;
  /** How many requests it has received. */
  looks = 0;
  /** The writes that were carried out, as `118 Ready`. */
  readonly history: string[] = [];
  readonly #clock: Clock;

  constructor(clock: Clock, stored?: DataplaneResource) {
    this.#clock = clock;
    this.stored = stored;
  }

  /** Of its first port; `missing` where there is no object. */
  get state(): string {
    if (this.stored === undefined) return 'missing';
    const [port] = portsOf(this.stored);
    return port === undefined ? 'no port' : stateOf(port);
  }

  check(): Promise<ControlPlaneFacts> {
    return Promise.resolve(DEFAULT_FACTS);
  }

  async make({ own }: Departure, want: Want, attempt: EndpointAttempt): Promise<Made> {
    this.looks += 1;
    if (this.broken) throw new OperationalError('ENDPOINT_UNREACHABLE', 'Cannot reach it');
    await Promise.resolve();
    const { stored } = this;
    const next = nextObject(stored, want, own);
    if (next.next === 'foreign')
      throw new OperationalError('DATAPLANE_FOREIGN', `Left alone: ${next.reason}`);
    if (next.next === 'nothing') return madeOf(stored, next);
    const answered = attempt.send();
    this.#clock.after(this.writeMs, () => {
      this.stored = next.next === 'put' ? next.resource : undefined;
      this.history.push(`${this.#clock.monotonicMs()} ${this.state}`);
    });
    await (this.mute ? new Promise(() => {}) : sleep(this.#clock, this.writeMs, answered));
    return madeOf(stored, next);
  }

  confirm(): Promise<Confirmation> {
    if (this.stored === undefined) return Promise.resolve({ verdict: 'gone' });
    this.stored = undefined;
    return Promise.resolve({ verdict: 'deleted' });
  }

  close(): void {}
}
