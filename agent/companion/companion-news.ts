import type { Clock } from '../../kernel/clock.ts';
import type { ControlPlaneFacts } from '../../kuma/control-plane.ts';
import type { AttachListener } from '../ports.ts';

/** Which connection, and which token the companion took on it. */
interface Asked<Connection> {
  readonly client: Connection;
  readonly token: string | undefined;
}

/** A revoked or expired token is noticed within this time, if the agent does not stop before. */
const ASK_AGAIN_MS = 300_000;

/**
 * What the companion reports of its control plane without a question. While its stream is open on the connection that
 * calls use, the agent need not ask every 20 s: the stream shows whether the companion can be reached, and the
 * companion reports changes.
 */
export class CompanionNews<Connection> {
  readonly #clock: Clock;
  /** Of the stream that is open and brings news. */
  #stream: { readonly client: Connection; readonly facts: ControlPlaneFacts } | undefined;
  #asked: (Asked<Connection> & { readonly atMs: number }) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @returns what listens for both */
  heardBy(listener: AttachListener, client: Connection): AttachListener {
    return {
      attached: (said) => {
        this.#stream = said.sendsNews === true ? { client, facts: said.facts } : undefined;
        listener.attached(said);
      },
      news: (facts) => {
        if (this.#stream?.client === client) this.#stream = { client, facts };
        listener.news(facts);
      },
      answered: () => {
        listener.answered();
      },
    };
  }

  /** The stream on this connection has ended. */
  end(client: Connection): void {
    if (this.#stream?.client === client) this.#stream = undefined;
  }

  /** The companion was asked, and took the token. */
  asked(asked: Asked<Connection>): void {
    this.#asked = { ...asked, atMs: this.#clock.monotonicMs() };
  }

  /** @returns what the companion would answer; `undefined` if it has to be asked */
  instead({ client, token }: Asked<Connection>): ControlPlaneFacts | undefined {
    const asked = this.#asked;
    if (asked?.client !== client || asked.token !== token || this.#stream?.client !== client)
      return undefined;
    return this.#clock.monotonicMs() - asked.atMs < ASK_AGAIN_MS ? this.#stream.facts : undefined;
  }
}
