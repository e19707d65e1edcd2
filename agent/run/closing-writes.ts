import { within, type Clock } from '../../kernel/clock.ts';
import type { CompanionAttachment } from '../companion/attachment.ts';
import type { AgentEvents } from '../events.ts';
import type { StopReport } from '../stop/stop-report.pure.ts';

/** Writes and sends the reports, the state and the last message after kuma-dp has ended. */
export interface ClosingWritesDeps {
  readonly clock: Clock;
  readonly events: AgentEvents;
  readonly onCrash: 'deregister' | 'keep';
  readonly attachment: Pick<CompanionAttachment, 'finish'> | undefined;
  /** `undefined` without `--report-file`. */
  readonly append: ((report: StopReport) => Promise<void>) | undefined;
  /** Writes in progress. */
  readonly pending: readonly Promise<unknown>[];
}

/** How long these last writes may take after the stop. */
const BUDGET_MS = 250;

/** kuma-dp has ended, so the agent must end, even if these writes fail. Never throws. */
export async function finishWrites(report: StopReport | undefined, deps: ClosingWritesDeps): Promise<void> {
  const { clock, events } = deps;
  await within(clock, BUDGET_MS, say(report, deps)).catch(events.failedUnexpectedly);
}

async function say(report: StopReport | undefined, deps: ClosingWritesDeps): Promise<void> {
  const { events, attachment, append, pending } = deps;
  if (report === undefined) {
    await Promise.all(pending);
    return;
  }
  // Without a deregister step the object was meant to stay.
  const keep = deps.onCrash === 'keep' && report.steps.every(({ step }) => step !== 'deregister');
  const heard = attachment?.finish({ report: JSON.stringify(report), keep });
  await append?.(report).catch(events.reportUnwritable);
  await Promise.all([...pending, heard]);
}
