import { performance } from 'node:perf_hooks';

/** @returns which share of the time since the last call the event loop was busy, from 0 to 1 */
export function busyShare(): () => number {
  let before = performance.eventLoopUtilization();
  return () => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    return utilization;
  };
}
