import { formatDuration } from '../../kernel/duration.ts';
import type { Finding } from '../../kernel/findings.ts';
import type { ProxyKind } from '../identity/used-proxy.pure.ts';
import { divideBudget, STOP_WISHES } from './stop-budget.pure.ts';
import { EXTERNAL_SENDERS, hasExternalSenders } from './hold.pure.ts';

/** The durations that an operator may choose for a stop, in ms. */
export interface StopChoices {
  readonly stopBudgetMs: number;
  readonly settle: 'auto' | number;
  readonly externalDrain: 'auto' | number;
  readonly outboundHold: 'auto' | number;
}

/** Each option that asks for more than the budget allows. Such a stop ends with its budget. */
export function judgeChoices(choices: StopChoices): readonly Finding[] {
  const { stopBudgetMs, settle, externalDrain, outboundHold } = choices;
  const { waitsEndAtMs } = divideBudget(0, stopBudgetMs);
  const given = { '--settle': settle, '--external-drain': externalDrain, '--outbound-hold': outboundHold };
  return Object.entries(given).flatMap(([option, wished]): readonly Finding[] => {
    if (wished === 'auto' || wished <= waitsEndAtMs) return [];
    return [
      {
        level: 'failure',
        about: option,
        says: `${formatDuration(wished)} is more than a stop budget of ${formatDuration(stopBudgetMs)} leaves: cut to ${formatDuration(waitsEndAtMs)}`,
        remedy: `--stop-budget ${formatDuration(budgetFor(wished))}, or a shorter ${option}`,
      },
    ];
  });
}

/**
 * For a proxy with clients that no control plane informs: until when Envoy serves them, and whether the budget allows
 * it.
 */
export function judgeExternalSenders(
  { kind, drainTimeMs }: { readonly kind: ProxyKind; readonly drainTimeMs: number },
  { stopBudgetMs, externalDrain }: StopChoices,
): readonly Finding[] {
  const externalDrainMs = externalDrain === 'auto' ? undefined : externalDrain;
  if (!hasExternalSenders({ proxy: kind, externalDrainMs })) return [];
  const about = 'external senders';
  const servesMs = externalDrainMs ?? drainTimeMs;
  const who = EXTERNAL_SENDERS[kind];
  const { waitsEndAtMs } = divideBudget(0, stopBudgetMs);
  if (servesMs <= waitsEndAtMs) {
    const says = `${who}: not ready at once, serving for ${formatDuration(servesMs)}. A load balancer's interval times its threshold must be less (--external-drain)`;
    return [{ level: 'ok', about, says }];
  }
  return [
    {
      level: 'warning',
      about,
      says: `${who}: serving for ${formatDuration(waitsEndAtMs)} of ${formatDuration(servesMs)}, since the stop budget is ${formatDuration(stopBudgetMs)}`,
      remedy: `--stop-budget ${formatDuration(budgetFor(servesMs))}, or --external-drain with a load balancer's interval times its threshold`,
    },
  ];
}

/** The last dataplane of its service in a federated zone: what Kuma cannot do for it. */
export function judgeSiblings(isLastOfService: boolean): readonly Finding[] {
  if (!isLastOfService) return [];
  return [
    {
      level: 'warning',
      about: 'other zones',
      says: 'the only dataplane of a service in a federated zone: when it stops, new connections from other zones fail for about 3 s, whatever the settle time',
      remedy: 'run two instances in each zone; MeshRetry hides most of it',
    },
  ];
}

/** In whole seconds. */
function budgetFor(servesMs: number): number {
  const { exitMs, confirmMs } = STOP_WISHES;
  // Below these two values a step may reserve only its share of the budget.
  const needed = Math.max(servesMs + exitMs + confirmMs, servesMs / 0.7);
  return Math.ceil(needed / 1_000) * 1_000;
}
