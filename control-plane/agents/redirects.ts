import { OperationalError } from '../../kernel/errors.ts';
import type { AttachedAgent } from '../attached-agent.ts';

/** Sends agents to other replicas. */
export class Redirects {
  #isShuttingDown = false;

  /** From here on, no stream is taken in, and the end of one is no departure. */
  get isShuttingDown(): boolean {
    return this.#isShuttingDown;
  }

  /** @throws `ENDPOINT_BUSY` while this replica shuts down */
  assertOpen(): void {
    if (this.#isShuttingDown)
      throw new OperationalError('ENDPOINT_BUSY', 'This replica is stopping: attach elsewhere');
  }

  shutDown(agents: Iterable<AttachedAgent>, reason: string): void {
    this.#isShuttingDown = true;
    for (const { channel } of agents) channel.redirect(reason);
  }

  /**
   * This replica cannot say that it lives, and the others are about to take its streams for lost. Agents that they know
   * had better be seen there. One that comes back, because no other replica answers, stays.
   */
  sendRemembered(agents: Iterable<AttachedAgent>): void {
    for (const { epoch, channel } of agents) {
      if (epoch !== undefined) channel.redirect('this replica cannot reach its store');
    }
  }
}
