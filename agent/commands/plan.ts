import { readScriptFile } from '../identity/script-file.io.ts';
import { formatDuration } from '../../kernel/duration.ts';
import { exitCodeOf, type Finding } from '../../kernel/findings.ts';
import { DEFAULT_FACTS } from '../../kuma/control-plane.ts';
import { readStandardInput } from '../child/standard-streams.io.ts';
import { obstaclesOf, readKumaDpCommand, readsStandardInput } from '../identity/kuma-dp-command.pure.ts';
import type { Obstacle } from '../identity/wrapping.pure.ts';
import {
  firstFacts,
  isLastOfService,
  judgeEndpoints,
  type EndpointLook,
} from '../doctor/endpoint-findings.pure.ts';
import { judgeIgnored, judgeObstacles } from '../doctor/host-findings.pure.ts';
import { isCompanion, orderEndpoints } from '../object/endpoint-url.pure.ts';
import { chooseOwner, isDeletable } from '../identity/owner.pure.ts';
import { settleMs } from '../object/settle.pure.ts';
import type { DataplaneIdentity } from '../identity/dataplane-identity.pure.ts';
import { usedProxy } from '../identity/used-proxy.pure.ts';
import { judgeChoices, judgeExternalSenders, judgeSiblings } from '../stop/stop-choices.pure.ts';
import { planStop, type PlannedStep } from '../stop/stop-plan.pure.ts';
import { readTls } from '../run/connection.ts';
import { deriveDataplane } from '../identity/derive.io.ts';
import { lookAtEndpoints } from '../doctor/endpoint-looks.ts';
import type { RunRequest } from '../run/run-request.ts';

const LOOK_BUDGET_MS = 2_000;

type Row = readonly [label: string, value: string];

export interface Planned {
  readonly text: string;
  /** 0: the stop works as it says. 1: with warnings. 2: it does not deregister, or something in front breaks it. */
  readonly code: 0 | 1 | 2;
}

/** What was derived from the command, and the timeline a stop would have, as text. Starts and changes nothing. */
export async function plan(
  request: Pick<RunRequest, 'options' | 'ignored' | 'argv' | 'env'>,
): Promise<Planned> {
  const { argv, env, options, ignored } = request;
  const wrong = ignored.map((problem): Row => ['problem', `${problem}. The default holds`]);
  const stdin = readsStandardInput(readKumaDpCommand(argv, env, readScriptFile))
    ? readStandardInput()
    : undefined;
  const derived = await deriveDataplane(argv, env, stdin);
  if ('problem' in derived) {
    return planBlind([
      ['dataplane', `unknown: ${derived.problem}`],
      ...wrong,
      ...obstaclesOf(argv, env).map(describeObstacle),
    ]);
  }
  const { key, defaultEndpoint: fallback } = derived.identity;
  const { urls, bypassed } = orderEndpoints(options.endpoints, { proxyType: key.proxyType, fallback });
  const { owner, because } = chooseOwner(options.lifecycle, derived.identity, urls.some(isCompanion));
  const looks = await lookAtEndpoints(urls, {
    derived,
    userTokenFile: options.userTokenFile,
    tls: () => readTls(options, derived.command),
    budgetMs: LOOK_BUDGET_MS,
  });
  const facts = firstFacts(looks);
  const scope = { proxyType: key.proxyType, lastOfService: isLastOfService(looks) };
  const waitMs = options.settle === 'auto' ? settleMs(facts ?? DEFAULT_FACTS, scope) : options.settle;
  const { drainTimeMs } = derived.identity;
  const advice = [...adviceOf(options, derived.identity), ...judgeSiblings(scope.lastOfService)];
  const rows: Row[] = [
    ['dataplane', derived.label],
    ['lifecycle', because === undefined ? owner : `${owner} (${because})`],
    ...looks.map((look): Row => ['endpoint', describeLook(look)]),
    ['settle', `${formatDuration(waitMs)}${facts === undefined ? " (Kuma's defaults)" : ''}`],
    ['budget', formatDuration(options.stopBudgetMs)],
    ...advice.map((finding): Row => [finding.level === 'ok' ? 'drain' : 'warning', inWords(finding)]),
    ...(bypassed ? [['warning', 'companions do not look after zone proxies'] satisfies Row] : []),
    ...wrong,
    ...derived.unset.map((name): Row => ['warning', `the template variable "${name}" is not set`]),
    ...derived.command.obstacles.map(describeObstacle),
  ];
  const findings: readonly Finding[] = [
    ...advice,
    ...judgeEndpoints(looks),
    ...judgeObstacles(derived.command.obstacles),
    ...judgeIgnored(ignored),
    ...rows.flatMap(([label, says]): Finding[] =>
      label === 'warning' ? [{ level: 'warning', about: label, says }] : [],
    ),
  ];
  const steps = planStop({
    budgetMs: options.stopBudgetMs,
    settleMs: waitMs,
    drainTimeMs,
    deregisters: isDeletable(owner, options.deleteExternal),
  });
  const text = [...table(rows), '', 'A stop, at the latest:', ...table(timelineOf(steps)), ''].join('\n');
  return { text, code: exitCodeOf(findings) };
}

function adviceOf(options: RunRequest['options'], identity: DataplaneIdentity): readonly Finding[] {
  return [...judgeChoices(options), ...judgeExternalSenders(usedProxy(identity), options)];
}

function planBlind(rows: readonly Row[]): Planned {
  const text = [...table(rows), '', 'A stop passes the signal on; nothing is deregistered.', ''].join('\n');
  return { text, code: 2 };
}

function timelineOf(steps: readonly PlannedStep[]): readonly Row[] {
  return steps.map(({ step, byMs, what }): Row => [step, `by ${formatDuration(byMs).padEnd(8)} ${what}`]);
}

function describeObstacle({ program, level, says, remedy }: Obstacle): Row {
  return [level === 'breaks' ? 'problem' : 'warning', `"${program}" ${says}; instead: ${remedy}`];
}

function inWords({ about, says, remedy }: Finding): string {
  return `${about}: ${says}${remedy === undefined ? '' : `: ${remedy}`}`;
}

function describeLook({ url, seen }: EndpointLook): string {
  if ('problem' in seen) return `${url}: ${seen.problem}`;
  const { version = 'of unknown version', mode = 'unknown' } = seen.facts;
  return `${url}: Kuma ${version}, mode ${mode}`;
}

function table(rows: readonly Row[]): readonly string[] {
  const width = Math.max(...rows.map(([label]) => label.length));
  return rows.map(([label, value]) => `${label.padEnd(width)}  ${value}`);
}
