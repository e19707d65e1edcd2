import { formatDuration } from '../../kernel/duration.ts';
import type { Finding } from '../../kernel/findings.ts';
import type { DecodedToken } from '../../kuma/decoded-token.ts';
import type { DataplaneClaims } from '../../kuma/dataplane-token.ts';
import { describeKey, type DataplaneKey, type DataplaneResource } from '../../kuma/dataplane.ts';
import { isOnline, type DataplaneOverview } from '../../kuma/overview.ts';
import { judgeOwnership } from '../../kuma/ownership.ts';
import { permits } from '../../kuma/token-rules.ts';
import type { Owner } from '../identity/owner.pure.ts';
import type { Obstacle } from '../identity/wrapping.pure.ts';
import { LAST_WORDS_MS, STOP_WISHES } from '../stop/stop-budget.pure.ts';

export interface BudgetGiven {
  readonly budgetMs: number;
  readonly settleMs: number;
  readonly drainTimeMs: number;
  /** How long the supervisor or the cloud waits before it kills the agent. `undefined` if the operator did not say. */
  readonly supervisorMs: number | undefined;
}

/** @param ignored what is wrong with the agent's environment, one sentence each */
export function judgeIgnored(ignored: readonly string[]): readonly Finding[] {
  return ignored.map((problem) => ({
    level: 'failure',
    about: 'environment',
    says: `${problem}. The agent uses the default`,
    remedy:
      'correct the variable where the unit (EnvironmentFile=) or the image sets it, and restart the agent',
  }));
}

/** Whether the stop has the time that it needs, and whether the supervisor waits that long. */
export function judgeBudget(given: BudgetGiven): readonly Finding[] {
  const { budgetMs, settleMs, drainTimeMs, supervisorMs } = given;
  const about = 'stop budget';
  const { deregisterMs, exitMs, confirmMs } = STOP_WISHES;
  const drainMs = Math.max(0, budgetMs - deregisterMs - settleMs - exitMs - confirmMs);
  const budget = formatDuration(budgetMs);
  const enough: Finding =
    drainMs >= drainTimeMs
      ? { level: 'ok', about, says: `${budget}, enough for all of kuma-dp's drain time` }
      : {
          level: 'warning',
          about,
          says: `${budget}: at its worst a stop has ${formatDuration(drainMs)} of kuma-dp's ${formatDuration(drainTimeMs)} to drain`,
          remedy: `--stop-budget ${formatDuration(Math.ceil((budgetMs + drainTimeMs - drainMs) / 1_000) * 1_000)}, or a shorter --drain-time of kuma-dp`,
        };
  return supervisorMs === undefined ? [enough] : [enough, judgeSupervisor(budgetMs, supervisorMs)];
}

function judgeSupervisor(budgetMs: number, supervisorMs: number): Finding {
  const about = 'notice of a stop';
  const says = `${formatDuration(supervisorMs)}, the stop budget is ${formatDuration(budgetMs)}`;
  if (supervisorMs >= budgetMs + LAST_WORDS_MS) return { level: 'ok', about, says };
  const fits = Math.max(1_000, Math.floor((supervisorMs - LAST_WORDS_MS) / 1_000) * 1_000);
  return {
    level: 'failure',
    about,
    says: `${says}: SIGKILL or the end of the host comes first`,
    remedy: `--stop-budget ${formatDuration(fits)}: this shortens the drain, not the deregistration`,
  };
}

/** What stands between the agent and kuma-dp. */
export function judgeObstacles(obstacles: readonly Obstacle[]): readonly Finding[] {
  return obstacles.map(({ program, level, says, remedy }) => ({
    level: level === 'breaks' ? 'failure' : 'warning',
    about: `wrapper ${program}`,
    says: `it ${says}`,
    remedy,
  }));
}

/** A drain outlives restarts: an operator may have forgotten it. */
export function judgeRotation(
  record: { readonly wanted: 'out' | 'in'; readonly since: string } | undefined,
): readonly Finding[] {
  if (record?.wanted !== 'out') return [];
  return [
    {
      level: 'warning',
      about: 'rotation',
      says: `drained since ${record.since}: peers do not send to it, also after a restart`,
      remedy: 'kuma-dp-agent resume',
    },
  ];
}

const SOON_MS = 7 * 86_400_000;

export interface TokenUser {
  readonly key: DataplaneKey;
  /** What kuma-dp brings; `undefined` for a dataplane that was applied beforehand. */
  readonly resource?: DataplaneResource | undefined;
  /** The control plane's version: the token rules differ by it. */
  readonly version: string | undefined;
}

/** Checks the claims only, not the signature, which needs the control plane's key. */
export function judgeToken(token: DecodedToken, user: TokenUser, wallMs: number): Finding {
  const { key } = user;
  const about = 'dataplane token';
  const { claims, expiresAtMs, notBeforeMs } = token;
  const says = `bound to ${describeBinding(claims)}${expiresAtMs === undefined ? ', does not expire' : `, valid until ${new Date(expiresAtMs).toISOString()}`}`;
  const remedy = 'kumactl generate dataplane-token, and restart';
  if (claims.name !== '' && claims.name !== key.name) {
    return { level: 'failure', about, says: `${says}: not for ${describeKey(key)}`, remedy };
  }
  if (claims.mesh !== '' && claims.mesh !== key.mesh) {
    return { level: 'failure', about, says: `${says}: not for ${describeKey(key)}`, remedy };
  }
  if (notBeforeMs !== undefined && notBeforeMs > wallMs) {
    const from = new Date(notBeforeMs).toISOString();
    return { level: 'failure', about, says: `${says}, but not before ${from}`, remedy: 'check the clock' };
  }
  const unfit = judgeBinding(claims, user);
  if (unfit !== undefined) return { level: 'failure', about, says: `${says}: ${unfit}`, remedy };
  if (expiresAtMs === undefined || expiresAtMs - wallMs > SOON_MS) return { level: 'ok', about, says };
  return expiresAtMs <= wallMs
    ? {
        level: 'failure',
        about,
        says: `${says}: expired. A stream that is open stays, the next is refused`,
        remedy,
      }
    : { level: 'warning', about, says: `${says}: less than a week`, remedy };
}

/** Checks tags and workload, if the values to compare them with are known. */
function judgeBinding(claims: DataplaneClaims, { key, resource, version }: TokenUser): string | undefined {
  if (key.proxyType !== 'dataplane' || resource === undefined || version === undefined) return undefined;
  const permission = permits(claims, { key, stored: resource, version });
  return permission.allowed ? undefined : permission.reason;
}

function describeBinding({ name, mesh, tags, workload }: DataplaneClaims): string {
  const parts = [
    ...(mesh === '' ? [] : [`mesh ${mesh}`]),
    ...(name === '' ? [] : [`name ${name}`]),
    ...Object.entries(tags).map(([tag, values]) => `${tag}=${values.join('|')}`),
    ...(workload === '' ? [] : [`workload ${workload}`]),
  ];
  return parts.length === 0 ? 'nothing' : parts.join(', ');
}

export interface ObjectGiven {
  readonly key: DataplaneKey;
  readonly owner: Owner;
  readonly address: string | undefined;
  /** `undefined` if the running incarnation is unknown, or none runs. */
  readonly incarnation: string | undefined;
  /** Whether an agent runs it on this host now. */
  readonly running: boolean;
  readonly overview: DataplaneOverview | undefined;
}

/** Compares the derived dataplane with the control plane's object. */
export function judgeObject(given: ObjectGiven): Finding {
  const { key, owner, overview, running, address, incarnation } = given;
  const about = `object ${describeKey(key)}`;
  if (overview === undefined) return judgeMissing(about, owner, running);
  const ownership = judgeOwnership({ incarnation, address }, overview);
  if (!ownership.ours) {
    return {
      level: 'failure',
      about,
      says: `${ownership.reason}: a stop leaves it alone`,
      remedy: 'two hosts use the same name: rename one, or wait for the other to leave',
    };
  }
  const online = overview.subscriptions.some(isOnline);
  const where = overview.networking?.address ?? 'an unknown address';
  const says = `at ${where}, ${online ? 'connected' : 'not connected'}`;
  if (online && !running) {
    return {
      level: 'warning',
      about,
      says: `${says}, but no agent runs it on this host`,
      remedy: 'kuma-dp may run without the agent or on another host: its stop will not be deregistered',
    };
  }
  return { level: 'ok', about, says };
}

function judgeMissing(about: string, owner: Owner, running: boolean): Finding {
  if (running) {
    return {
      level: 'failure',
      about,
      says: 'missing, although an agent runs it: peers do not send to it',
      remedy: "see the agent's log and kuma-dp's; a restart puts it back",
    };
  }
  return owner === 'external'
    ? { level: 'failure', about, says: 'missing', remedy: 'kumactl apply it before kuma-dp starts' }
    : { level: 'ok', about, says: 'not there yet: it is created at the start' };
}
