import { OperationalError } from '../../kernel/errors.ts';
import type { AttachedAgent } from '../attached-agent.ts';

/** Sends agents to other replicas. */
export class Redirects {
  #isShuttingDown = false;

  /** From now on the replica accepts no stream, and the end of a stream is no loss. */
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
   * Called when this replica cannot send heartbeats, and the others will soon count its streams as lost. It redirects
   * the agents that the store has recorded. An agent that finds no other replica comes back, and stays.
   */
  sendRemembered(agents: Iterable<AttachedAgent>): void {
    for (const { epoch, channel } of agents) {
      if (epoch !== undefined) channel.redirect('this replica cannot reach its store');
    }
  }
}
