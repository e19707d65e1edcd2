import { formatDuration } from '../kernel/duration.ts';
import type { Finding } from '../kernel/findings.ts';
import {
  DEFAULT_DEREGISTRATION_DELAY_MS,
  parseVersion,
  refusesSameName,
  takesDataplanes,
  type ControlPlaneFacts,
} from './control-plane.ts';

const CLOCK_TOLERANCE_MS = 5_000;

/** @param clockMs the control plane's `Date`, cut to the second; `undefined` if it did not say */
export function judgeClock(clockMs: number | undefined, wallMs: number): Finding {
  const about = 'clock';
  if (clockMs === undefined) {
    const remedy =
      'a proxy in between removes the Date header: the companion cannot tell how long a dataplane has been offline';
    return { level: 'warning', about, says: 'the control plane does not say what time it is', remedy };
  }
  const apartMs = Math.abs(clockMs - wallMs);
  if (apartMs <= CLOCK_TOLERANCE_MS) return { level: 'ok', about, says: 'agrees with the control plane’s' };
  const says = `${formatDuration(Math.round(apartMs / 1_000) * 1_000)} apart from the control plane’s`;
  return {
    level: 'warning',
    about,
    says,
    remedy: 'no deletion depends on it, but tokens and logs do: synchronise it',
  };
}

/** Whether dataplanes can be written and deleted there. */
export function judgeMode(
  about: string,
  { version = 'unknown', mode, instanceId }: ControlPlaneFacts,
): Finding {
  const says = `${mode ?? 'unknown mode'}, version ${version}, instance ${instanceId ?? 'unknown'}`;
  if (mode === undefined) {
    const remedy =
      'cannot read its /config: check that it is a zone control plane and that the user may read it';
    return { level: 'warning', about, says, remedy };
  }
  return takesDataplanes(mode)
    ? { level: 'ok', about, says }
    : {
        level: 'failure',
        about,
        says,
        remedy: "dataplanes belong to the zone's control planes: name one of those",
      };
}

/** What protects this host from a defect of the control plane. */
export interface Precautions {
  /** The companion finishes what the control plane forgets. */
  readonly companion: boolean;
  /** The object is the agent's: the control plane neither creates nor deletes it. */
  readonly agentOwns: boolean;
  /** A start waits until the name is accepted again. */
  readonly paced: boolean;
}

/** Known defects of this control plane that concern departures. */
export function judgeDefects(facts: ControlPlaneFacts, precautions: Precautions): readonly Finding[] {
  return [
    judgeLeak(facts, precautions),
    judgeSameName(facts, precautions),
    judgeHealthFeedback(facts, precautions),
  ];
}

function judgeLeak({ version }: ControlPlaneFacts, { companion }: Precautions): Finding {
  const about = 'leak of offline dataplanes';
  const leaks = leaksOffline(version);
  if (leaks === undefined) return { level: 'unseen', about, says: 'the version is unknown' };
  if (!leaks) return { level: 'ok', about, says: `fixed in ${version}` };
  const says = `${version} does not delete the object after a crash: it stays for 72 h`;
  return companion
    ? { level: 'ok', about, says: `${says}; the companion does` }
    : {
        level: 'warning',
        about,
        says,
        remedy: 'upgrade to 2.7.14, 2.9.6, 2.10.2, 2.11 or later, or run a companion beside it',
      };
}

/**
 * Whether the object of a vanished dataplane stays, because the deletion runs on a context that its own stream has
 * cancelled. Fixed in 2.7.14+, 2.9.6+, 2.10.2+ and 2.11.0+; the 2.8 line ended at 2.8.8 without the fix.
 *
 * @returns `undefined` for a version that cannot be read
 * @see https://github.com/kumahq/kuma/pull/13504
 */
export function leaksOffline(version: string | undefined): boolean | undefined {
  const parsed = parseVersion(version);
  if (parsed === undefined) return undefined;
  const [major, minor, patch] = parsed;
  // 0.0.0-preview is what builds from Kuma's main branch call themselves.
  if (major === 0 || major > 2 || (major === 2 && minor >= 11)) return false;
  if (major < 2) return true;
  const firstFixed: Readonly<Record<number, number>> = { 7: 14, 9: 6, 10: 2 };
  return patch < (firstFixed[minor] ?? Number.POSITIVE_INFINITY);
}

function judgeSameName(facts: ControlPlaneFacts, { agentOwns, paced }: Precautions): Finding {
  const about = 'restart under the same name';
  const { version, deregistrationDelayMs } = facts;
  if (agentOwns) return { level: 'ok', about, says: 'about a second: the agent owns the object' };
  if (!refusesSameName(version) || deregistrationDelayMs === 0)
    return { level: 'ok', about, says: 'accepted at once' };
  const delay = formatDuration(deregistrationDelayMs ?? DEFAULT_DEREGISTRATION_DELAY_MS);
  const says = `refused for ${delay} after a stop (dataplaneDeregistrationDelay)`;
  // Where the control plane does not say its delay, a start does not wait.
  return paced && deregistrationDelayMs !== undefined
    ? { level: 'ok', about, says: `${says}, which a start waits out` }
    : {
        level: 'warning',
        about,
        says: `${says}; then Envoy's backoff decides`,
        remedy: '--restart-pacing auto, or a companion: with it the agent owns the object',
      };
}

function judgeHealthFeedback({ mode, hdsDelayMs }: ControlPlaneFacts, { companion }: Precautions): Finding {
  const about = 'health feedback (HDS)';
  if (hdsDelayMs !== undefined) {
    return { level: 'ok', about, says: `on: a dead Envoy is noticed within ${formatDuration(hdsDelayMs)}` };
  }
  if (mode === undefined)
    return { level: 'unseen', about, says: "the control plane's /config cannot be read" };
  const says = 'off: peers keep an endpoint whose Envoy is dead until its object is gone';
  return {
    level: 'warning',
    about,
    says,
    remedy: companion
      ? 'KUMA_DP_SERVER_HDS_ENABLED=true; until then the companion deletes it after its grace'
      : 'KUMA_DP_SERVER_HDS_ENABLED=true, or a companion',
  };
}
