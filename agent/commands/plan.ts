import { readScriptFile } from '../identity/script-file.io.ts';
import { describeError } from '../../kernel/errors.ts';
import { formatDuration } from '../../kernel/duration.ts';
import { exitCodeOf, type Finding } from '../../kernel/findings.ts';
import { DEFAULT_FACTS } from '../../kuma/control-plane.ts';
import { readStandardInput } from '../child/standard-streams.io.ts';
import { EXIT_CONFIG } from '../child/exit-status.pure.ts';
import {
  DRAIN_TIME_MS,
  obstaclesOf,
  readKumaDpCommand,
  readsStandardInput,
} from '../identity/kuma-dp-command.pure.ts';
import { missingFiles } from '../identity/missing-files.io.ts';
import type { Obstacle } from '../identity/wrapping.pure.ts';
import {
  firstFacts,
  isLastOfService,
  judgeCredential,
  judgeEndpoints,
  outlookOf,
  type EndpointLook,
} from '../doctor/endpoint-findings.pure.ts';
import { judgeIgnored, judgeObstacles } from '../doctor/host-findings.pure.ts';
import { isCompanion, orderEndpoints } from '../object/endpoint-url.pure.ts';
import { chooseOwner, isDeletable } from '../identity/owner.pure.ts';
import { settleMs } from '../object/settle.pure.ts';
import type { DataplaneIdentity } from '../identity/dataplane-identity.pure.ts';
import { usedProxy } from '../identity/used-proxy.pure.ts';
import { judgeChoices, judgeExternalSenders, judgeSiblings } from '../stop/stop-choices.pure.ts';
import { describePlan, planStop, type Outlook } from '../stop/stop-plan.pure.ts';
import { readTls, type EndpointTls } from '../run/connection.ts';
import { deriveDataplane, type DerivedDataplane } from '../identity/derive.io.ts';
import { lookAtEndpoints } from '../doctor/endpoint-looks.ts';
import type { RunRequest } from '../run/run-request.ts';

const LOOK_BUDGET_MS = 2_000;

type Row = readonly [label: string, value: string];

export interface Planned {
  readonly text: string;
  /** 0: the stop works as shown. 1: with warnings. 2: it does not deregister, or a program in front breaks it. */
  readonly code: 0 | 1 | 2;
}

type PlanRequest = Pick<RunRequest, 'options' | 'ignored' | 'argv' | 'env'>;

/** Prints what the agent derives from the command, and the timeline of a stop. Starts and changes nothing. */
export async function plan(request: PlanRequest): Promise<Planned> {
  const { argv, env, options } = request;
  const command = readKumaDpCommand(argv, env, readScriptFile);
  const stdin = readsStandardInput(command) ? readStandardInput() : undefined;
  const derived = await deriveDataplane(argv, env, stdin);
  const missing = command === undefined ? [] : missingFiles(command);
  if ('problem' in derived) return planBlind(request, { problem: derived.problem, missing });
  let tls: EndpointTls;
  try {
    tls = readTls(options, derived.command);
  } catch (error) {
    return planBlind(request, { label: derived.label, problem: describeError(error), missing });
  }
  if (missing.length > 0) return planBlind(request, { label: derived.label, missing });
  return planSeeing(request, derived, tls);
}

async function planSeeing(
  { options, ignored }: PlanRequest,
  derived: DerivedDataplane,
  tls: EndpointTls,
): Promise<Planned> {
  const { key, defaultEndpoint: fallback, drainTimeMs } = derived.identity;
  const { urls, bypassed } = orderEndpoints(options.endpoints, { proxyType: key.proxyType, fallback });
  const hasCompanion = urls.some(isCompanion);
  const { owner, because } = chooseOwner(options.lifecycle, derived.identity, hasCompanion);
  const looks = await lookAtEndpoints(urls, {
    derived,
    userTokenFile: options.userTokenFile,
    tls: () => tls,
    budgetMs: LOOK_BUDGET_MS,
  });
  const facts = firstFacts(looks);
  const outlook = outlookOf(looks, isDeletable(owner, options.deleteExternal));
  const scope = { proxyType: key.proxyType, lastOfService: isLastOfService(looks) };
  const waitMs = options.settle === 'auto' ? settleMs(facts ?? DEFAULT_FACTS, scope) : options.settle;
  const advice = [
    ...adviceOf(options, derived.identity),
    ...judgeSiblings(scope.lastOfService),
    ...judgeCredential(derived.command, hasCompanion),
  ];
  const rows: Row[] = [
    ['dataplane', derived.label],
    ['lifecycle', because === undefined ? owner : `${owner} (${because})`],
    ...looks.map((look): Row => ['endpoint', describeLook(look)]),
    ['settle', outlook === 'deletes' ? formatDuration(waitMs) : 'none: a stop deletes nothing'],
    ['budget', formatDuration(options.stopBudgetMs)],
    ...advice.map((finding): Row => [LABELS[finding.level], inWords(finding)]),
    ...(bypassed ? [['warning', 'companions do not look after zone proxies'] satisfies Row] : []),
    ...wrongSettings(ignored),
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
  const { externalDrain, stopBudgetMs: budgetMs } = options;
  const externalDrainMs = externalDrain === 'auto' ? undefined : externalDrain;
  const steps = planStop({ budgetMs, settleMs: waitMs, drainTimeMs, externalDrainMs, outlook });
  return inText(rows, [FORECASTS[outlook], ...table(describePlan(steps))], exitCodeOf(findings));
}

const LABELS = { ok: 'drain', unseen: 'warning', warning: 'warning', failure: 'problem' } as const;

const FORECASTS: Readonly<Record<Outlook, string>> = {
  deletes: 'A stop, at the latest:',
  fails: 'A stop, at the latest. Peers learn of it late, and the object may stay:',
  keeps: 'A stop, at the latest. It leaves the object where it is:',
};

/** The plan of a run that knows no dataplane or no endpoint. */
function planBlind(
  { argv, env, options, ignored }: PlanRequest,
  found: { readonly label?: string; readonly problem?: string; readonly missing: readonly string[] },
): Planned {
  const { label, problem, missing } = found;
  const rows: Row[] = [
    ['dataplane', label ?? `unknown: ${problem ?? ''}`],
    ...(label === undefined || problem === undefined ? [] : [['problem', problem] satisfies Row]),
    ...missing.map((says): Row => ['problem', says]),
    ...wrongSettings(ignored),
    ...obstaclesOf(argv, env).map(describeObstacle),
  ];
  return inText(rows, blindForecast(found, options), 2);
}

function blindForecast(
  { problem, missing }: { readonly problem?: string; readonly missing: readonly string[] },
  { requireIdentity, stopBudgetMs: budgetMs }: PlanRequest['options'],
): readonly string[] {
  if (problem !== undefined && requireIdentity)
    return [`run does not start kuma-dp (--require-identity): it exits with ${EXIT_CONFIG}.`];
  if (missing.length > 0)
    return ['kuma-dp does not start without that file: it exits with an error, and the agent exits with it.'];
  const steps = planStop({ budgetMs, settleMs: 0, drainTimeMs: DRAIN_TIME_MS, outlook: 'keeps' });
  return [
    'A stop, at the latest. The agent forwards the signal and deregisters nothing:',
    ...table(describePlan(steps)),
  ];
}

function wrongSettings(ignored: readonly string[]): readonly Row[] {
  return ignored.map((says) => ['problem', `${says}. The agent uses the default`]);
}

function inText(rows: readonly Row[], forecast: readonly string[], code: Planned['code']): Planned {
  return { text: [...table(rows), '', ...forecast, ''].join('\n'), code };
}

function adviceOf(options: RunRequest['options'], identity: DataplaneIdentity): readonly Finding[] {
  return [...judgeChoices(options), ...judgeExternalSenders(usedProxy(identity), options)];
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
