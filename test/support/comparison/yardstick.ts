import { AGENT } from '../world/fleet.ts';
import { ManagedProcess } from '../world/managed-process.ts';

/** Of which the median counts. */
const SAMPLES = 3;

/**
 * How long this machine takes now to start the agent and let it end: the cost of an agent that does nothing in front
 * of kuma-dp. A tenth of a second on an idle machine.
 */
export async function yardstickMs(): Promise<number> {
  const samples: number[] = [];
  for (let sample = 0; sample < SAMPLES; sample += 1) {
    const startedAtMs = performance.now();
    await using agent = new ManagedProcess({ command: AGENT, argv: ['--version'] });
    const { atMs } = await agent.exited;
    samples.push(atMs - startedAtMs);
  }
  return samples.toSorted((a, b) => a - b)[1] ?? 0;
}
