import { formatDuration } from '../../kernel/duration.ts';
import { isOnline, type DataplaneOverview } from '../../kuma/overview.ts';
import type { InstanceLook } from '../ports.ts';

/** One thing the doctor looked at. */
export interface Finding {
  readonly level: 'ok' | 'warning' | 'failure';
  readonly about: string;
  readonly says: string;
  /** What to do about it. */
  readonly remedy?: string;
}

const CLOCK_TOLERANCE_MS = 5_000;
const CERTIFICATE_WARNING_MS = 14 * 24 * 3_600_000;

export function judgeControlPlane({ url, seen }: InstanceLook): Finding {
  const about = `control plane ${url}`;
  if ('problem' in seen) {
    return { level: 'failure', about, says: seen.problem, remedy: 'check --kuma-api, and that it runs' };
  }
  const { version = 'unknown', mode, instanceId = 'unknown' } = seen.facts;
  const says = `${mode ?? 'unknown mode'}, version ${version}, instance ${instanceId}`;
  if (mode === undefined) {
    const remedy = 'its /config cannot be read: is it a zone control plane, and may we read it?';
    return { level: 'warning', about, says, remedy };
  }
  return mode === 'zone' || mode === 'standalone'
    ? { level: 'ok', about, says }
    : {
        level: 'failure',
        about,
        says,
        remedy: "dataplanes belong to the zone's control planes: name one of those",
      };
}

/** The clocks agree, and every instance that holds a stream is named. */
export function judgeClocks(given: {
  readonly overviews: readonly DataplaneOverview[];
  readonly clockMs: number | undefined;
  readonly wallMs: number;
  readonly looks: readonly InstanceLook[];
}): readonly Finding[] {
  const { overviews, clockMs, wallMs, looks } = given;
  const named = new Set(looks.map(({ seen }) => ('facts' in seen ? seen.facts.instanceId : undefined)));
  const unnamed = new Set(
    overviews
      .flatMap(({ subscriptions }) => subscriptions.filter(isOnline))
      .map(({ controlPlaneInstanceId: id }) => id)
      .filter((id) => id !== undefined && !named.has(id)),
  );
  return [judgeClock(clockMs, wallMs), judgeInstances([...unnamed], overviews.length)];
}

function judgeClock(clockMs: number | undefined, wallMs: number): Finding {
  const about = 'clock';
  if (clockMs === undefined) {
    const remedy =
      'something between us removes the Date header: how long a dataplane has been offline cannot be told';
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

function judgeInstances(unnamed: readonly (string | undefined)[], dataplanes: number): Finding {
  const about = 'instances';
  if (unnamed.length === 0) {
    return { level: 'ok', about, says: `${dataplanes} dataplanes, none connected elsewhere` };
  }
  const says = `dataplanes are connected to ${unnamed.join(', ')}, which no --kuma-api names`;
  const remedy =
    'name every control plane of the zone; if it crashed lately, these are remains that end by themselves';
  return { level: 'warning', about, says, remedy };
}

export function judgeCertificate(file: string, leftMs: number): Finding {
  const about = 'certificate';
  const says = `${file}, ${leftMs > 0 ? `valid for ${Math.floor(leftMs / 86_400_000)} days` : 'expired'}`;
  if (leftMs <= 0) return { level: 'failure', about, says, remedy: 'renew it: agents refuse it' };
  return leftMs < CERTIFICATE_WARNING_MS
    ? { level: 'warning', about, says, remedy: 'renew it' }
    : { level: 'ok', about, says };
}
