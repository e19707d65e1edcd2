/** What a stop cost with kuma-dp alone or with the agent. Milliseconds since the stop was asked for. */
export interface StopCost {
  readonly sent: number;
  readonly failed: number;
  readonly byFailure: Readonly<Record<string, number>>;
  /** When the first session or connection was cut; `undefined` if none was. */
  readonly cutMs: number | undefined;
  /** When the process had ended. */
  readonly exitMs: number;
}

export interface Comparison {
  readonly bare: StopCost;
  readonly agent: StopCost;
}

export interface Allowance {
  /** How much later than kuma-dp alone the agent may end. */
  readonly laterMs: number;
  /** By when the agent has to have ended, whatever kuma-dp alone takes. */
  readonly withinMs?: number;
  /** How many requests may fail with the agent, however many fail alone. */
  readonly failed?: number;
}

/** Two processes that get a signal at the same moment are not scheduled at the same moment. */
const SCHEDULING_MS = 300;

/** @returns each respect in which the agent was worse than kuma-dp alone; empty if none */
export function worseThanAlone({ bare, agent }: Comparison, allowance: Allowance): readonly string[] {
  const complaints: string[] = [];
  if (agent.failed > Math.min(bare.failed, allowance.failed ?? Number.POSITIVE_INFINITY)) {
    const reasons = JSON.stringify(agent.byFailure);
    complaints.push(
      `${agent.failed} of ${agent.sent} requests failed ${reasons}, alone ${bare.failed} of ${bare.sent}`,
    );
  }
  if (agent.cutMs !== undefined && agent.cutMs < (bare.cutMs ?? Number.POSITIVE_INFINITY) - SCHEDULING_MS) {
    complaints.push(`cut after ${seconds(agent.cutMs)}, alone after ${seconds(bare.cutMs)}`);
  }
  if (agent.exitMs > bare.exitMs + allowance.laterMs) {
    complaints.push(`ended after ${seconds(agent.exitMs)}, alone after ${seconds(bare.exitMs)}`);
  }
  if (allowance.withinMs !== undefined && agent.exitMs > allowance.withinMs) {
    complaints.push(`ended after ${seconds(agent.exitMs)}, wanted within ${seconds(allowance.withinMs)}`);
  }
  return complaints;
}

function seconds(ms: number | undefined): string {
  return ms === undefined ? 'never' : `${(ms / 1_000).toFixed(1)} s`;
}
