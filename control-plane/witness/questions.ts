import type { Clock } from '../../kernel/clock.ts';
import type { AttachedAgent, WitnessTestimony } from '../attached-agent.ts';
import type { TestimonyFinding } from './suspicion.pure.ts';
import type { Control, Place } from './targets.pure.ts';

export interface WitnessQuestion {
  readonly targets: readonly Place[];
  readonly control: Control | undefined;
  readonly timeoutMs: number;
}

/** The result of an answer. */
export type AnswerStanding = TestimonyFinding | 'late' | 'unasked';

interface Pending {
  readonly agent: AttachedAgent;
  readonly targets: number;
  readonly answer: (findings: readonly TestimonyFinding[] | undefined) => void;
}

/** The looks that agents have not answered yet. */
export class Questions {
  readonly #clock: Clock;
  readonly #onAnswer: (standing: AnswerStanding) => void;
  readonly #pending = new Map<number, Pending>();
  #lastId = 0;

  constructor(clock: Clock, onAnswer: (standing: AnswerStanding) => void) {
    this.#clock = clock;
    this.#onAnswer = onAnswer;
  }

  /** @returns what the agent found at each target; `unable` if it does not answer in time */
  async ask(
    agent: AttachedAgent,
    { targets, control, timeoutMs }: WitnessQuestion,
  ): Promise<readonly TestimonyFinding[]> {
    this.#lastId += 1;
    const id = this.#lastId;
    const { promise, resolve } = Promise.withResolvers<readonly TestimonyFinding[] | undefined>();
    this.#pending.set(id, { agent, targets: targets.length, answer: resolve });
    const disarm = this.#clock.after(timeoutMs, () => {
      resolve(undefined);
    });
    agent.channel.look({ id, targets, control, timeoutMs });
    const findings = await promise;
    disarm();
    this.#pending.delete(id);
    this.#onAnswer(findings === undefined ? 'late' : findingOf(findings));
    return findings ?? targets.map(() => 'unable');
  }

  /** Ignores and counts answers from another agent, to no question, repeated or late. */
  receive(agent: AttachedAgent, { id, findings }: WitnessTestimony): void {
    const pending = this.#pending.get(id);
    if (pending?.agent !== agent || pending.targets !== findings.length) {
      this.#onAnswer('unasked');
      return;
    }
    this.#pending.delete(id);
    pending.answer(findings);
  }
}

/** One reached port is enough; one `unable` port makes the whole answer `unable`. */
export function findingOf(findings: readonly TestimonyFinding[]): TestimonyFinding {
  for (const finding of ['reached', 'unable', 'silent'] as const)
    if (findings.includes(finding)) return finding;
  return findings.length === 0 ? 'unable' : 'refused';
}
