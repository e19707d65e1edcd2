import { systemClock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import { formatDuration } from '../../kernel/duration.ts';
import { describeError } from '../../kernel/errors.ts';
import type { DataplaneKey } from '../../kuma/dataplane.ts';
import { DEFAULT_FACTS, type ControlPlaneFacts } from '../../kuma/control-plane.ts';
import { readStandardInput } from '../adapters/standard-streams.ts';
import { readKumaDpCommand, readsStandardInput } from '../core/kuma-dp-command.ts';
import { endpointName, isCompanion, orderEndpoints } from '../core/endpoint-url.ts';
import { chooseOwner, isDeletable } from '../core/lifecycle-choice.ts';
import { settleMs } from '../core/propagation.ts';
import { planStop } from '../core/stop-plan.ts';
import type { Endpoint } from '../ports.ts';
import { openEndpoints, readTls, tokenOf } from './connection.ts';
import { deriveDataplane, type DerivedDataplane } from './derive.ts';
import type { RunRequest } from './run-request.ts';

const CHECK_BUDGET_MS = 2_000;

type Row = readonly [label: string, value: string];

/** What was derived from the command, and the timeline a stop would have, as text. Starts and changes nothing. */
export async function plan(request: Pick<RunRequest, 'options' | 'argv' | 'env'>): Promise<string> {
  const { argv, env, options } = request;
  const stdin = readsStandardInput(readKumaDpCommand(argv, env)) ? readStandardInput() : undefined;
  const derived = await deriveDataplane(argv, env, stdin);
  if ('problem' in derived) {
    const rows: Row[] = [['dataplane', `unknown: ${derived.problem}`]];
    return [...table(rows), '', 'A stop passes the signal on; nothing is deregistered.', ''].join('\n');
  }
  const { key, defaultEndpoint: fallback } = derived.identity;
  const { urls, bypassed } = orderEndpoints(options.endpoints, { proxyType: key.proxyType, fallback });
  const { owner, because } = chooseOwner(options.lifecycle, derived.identity, urls.some(isCompanion));
  const checks = await checkEndpoints(urls, request, derived);
  const facts = checks.find(({ facts: known }) => known !== undefined)?.facts;
  const waitMs = options.settle === 'auto' ? settleMs(facts ?? DEFAULT_FACTS) : options.settle;
  const rows: Row[] = [
    ['dataplane', derived.label],
    ['lifecycle', because === undefined ? owner : `${owner} (${because})`],
    ...checks.map(({ url, said }): Row => ['endpoint', `${url}: ${said}`]),
    ['settle', `${formatDuration(waitMs)}${facts === undefined ? " (Kuma's defaults)" : ''}`],
    ['budget', formatDuration(options.stopBudgetMs)],
    ...(bypassed ? [['warning', 'companions do not look after zone proxies'] satisfies Row] : []),
    ...derived.unset.map((name): Row => ['warning', `nobody sets the template variable "${name}"`]),
  ];
  const steps = planStop({
    budgetMs: options.stopBudgetMs,
    settleMs: waitMs,
    drainTimeMs: derived.identity.drainTimeMs,
    deregisters: isDeletable(owner, options.deleteExternal),
  });
  const timeline = steps.map(({ step, byMs, what }): Row => [
    step,
    `by ${formatDuration(byMs).padEnd(8)} ${what}`,
  ]);
  return [...table(rows), '', 'A stop, at the latest:', ...table(timeline), ''].join('\n');
}

interface Check {
  readonly url: string;
  readonly said: string;
  readonly facts: ControlPlaneFacts | undefined;
}

async function checkEndpoints(
  urls: readonly URL[],
  { options }: Pick<RunRequest, 'options'>,
  derived: DerivedDataplane,
): Promise<readonly Check[]> {
  try {
    const tls = readTls(options, derived.command);
    const { endpoints } = await openEndpoints(urls, {
      tls,
      userTokenFile: options.userTokenFile,
      dataplaneToken: tokenOf(derived.command),
    });
    return await Promise.all(endpoints.map((endpoint) => checkEndpoint(endpoint, derived.identity.key)));
  } catch (error) {
    return urls.map((url) => ({ url: endpointName(url), said: describeError(error), facts: undefined }));
  }
}

async function checkEndpoint(endpoint: Endpoint, key: DataplaneKey): Promise<Check> {
  const { url } = endpoint;
  try {
    const facts = await withDeadline(
      { clock: systemClock, action: `reach ${url}`, budgetMs: CHECK_BUDGET_MS },
      ({ signal }) => endpoint.check(key, signal),
    );
    return {
      url,
      said: `Kuma ${facts.version ?? 'of unknown version'}, mode ${facts.mode ?? 'unknown'}`,
      facts,
    };
  } catch (error) {
    return { url, said: describeError(error), facts: undefined };
  } finally {
    endpoint.close();
  }
}

function table(rows: readonly Row[]): readonly string[] {
  const width = Math.max(...rows.map(([label]) => label.length));
  return rows.map(([label, value]) => `${label.padEnd(width)}  ${value}`);
}
