import type { Finding } from '../../kernel/findings.ts';
import { judgeClock, judgeMode } from '../../kuma/control-plane-findings.ts';
import { isOnline, type DataplaneOverview } from '../../kuma/overview.ts';
import type { InstanceLook } from '../control-planes/instance-look.pure.ts';

const CERTIFICATE_WARNING_MS = 14 * 24 * 3_600_000;

export function judgeControlPlane({ url, seen }: InstanceLook): Finding {
  const about = `control plane ${url}`;
  if ('problem' in seen) {
    return { level: 'failure', about, says: seen.problem, remedy: 'check --kuma-api, and that it runs' };
  }
  return judgeMode(about, seen.facts);
}

/** Judges whether the clocks agree, and whether every instance that holds a stream is named. */
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

function judgeInstances(unnamed: readonly (string | undefined)[], dataplanes: number): Finding {
  const about = 'instances';
  if (unnamed.length === 0) {
    return { level: 'ok', about, says: `${dataplanes} dataplanes, none connected elsewhere` };
  }
  const says = `dataplanes are connected to ${unnamed.join(', ')}, which no --kuma-api names`;
  const remedy = 'name every control plane of the zone; after a crash of one these remains end by themselves';
  return { level: 'warning', about, says, remedy };
}

/** For a running companion: whether a lost host would be out of rotation within seconds. */
export function judgeWitnesses(given: {
  readonly attached: number;
  readonly unwatched: readonly { readonly name: string; readonly reason: string }[];
}): Finding {
  const about = 'witnesses';
  const { attached, unwatched } = given;
  const [first] = unwatched;
  if (first === undefined)
    return { level: 'ok', about, says: `the loss of any of ${attached} dataplanes would be noticed at once` };
  return {
    level: 'warning',
    about,
    says: `the loss of ${unwatched.length} of ${attached} dataplanes would not be noticed at once: ${first.name}: ${first.reason}`,
    remedy: '`kuma-deregistrar status` names all of them',
  };
}

export function judgeCertificate(file: string, leftMs: number): Finding {
  const about = 'certificate';
  const says = `${file}, ${leftMs > 0 ? `valid for ${Math.floor(leftMs / 86_400_000)} days` : 'expired'}`;
  if (leftMs <= 0) return { level: 'failure', about, says, remedy: 'renew it: agents refuse it' };
  return leftMs < CERTIFICATE_WARNING_MS
    ? { level: 'warning', about, says, remedy: 'renew it' }
    : { level: 'ok', about, says };
}
