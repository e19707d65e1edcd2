import { parseVersion } from '../../../kuma/control-plane.ts';

/** The differences between versions of Kuma that matter for the contract. */
export interface KumaBehaviour {
  /** Whether a dataplane that its control plane created is deleted after its stream closed. kuma#13403 */
  readonly deletesAfterDisconnect: boolean;
  /** Whether a name is refused until the old stream of that name is done with. kuma#12886 */
  readonly refusesSameName: boolean;
  readonly keepsLabels: boolean;
  /** Whether PUT and DELETE answer `{}` rather than nothing. */
  readonly answersWrites: boolean;
  /** Whether an overview shows Envoy's node metadata, and in it whether the control plane owns the object. */
  readonly showsMetadata: boolean;
  /** Whether Envoy's admin API is a Unix socket in the work directory. */
  readonly adminSocket: boolean;
  /** Whether `--proxy-type ingress|egress` and their REST paths exist. */
  readonly zoneProxies: boolean;
  /** Whether a page size below 1 is refused. */
  readonly refusesEmptyPages: boolean;
  /** Whether inbounds belong to a service by their tags; by the object's labels otherwise. */
  readonly inboundTags: boolean;
  /** Whether a dataplane token says which workload it is for. */
  readonly workloadTokens: boolean;
  /** The flag for the folder in which kuma-dp writes. */
  readonly workDirFlag: '--work-dir' | '--config-dir';
}

export function behaviourOf(version: string): KumaBehaviour {
  const parsed = parseVersion(version);
  if (parsed === undefined) throw new Error(`Not a version of Kuma: ${version}`);
  return {
    deletesAfterDisconnect: atLeast(parsed, [2, 10, 2]) || fixedLine(parsed, { 7: 14, 9: 6 }),
    refusesSameName: atLeast(parsed, [2, 10, 0]) || fixedLine(parsed, { 7: 12, 8: 7, 9: 4 }),
    keepsLabels: atLeast(parsed, [2, 10, 0]),
    answersWrites: atLeast(parsed, [2, 10, 0]),
    showsMetadata: atLeast(parsed, [2, 11, 0]),
    adminSocket: atLeast(parsed, [2, 14, 0]),
    zoneProxies: !atLeast(parsed, [3, 0, 0]),
    refusesEmptyPages: atLeast(parsed, [2, 11, 0]),
    inboundTags: !atLeast(parsed, [3, 0, 0]),
    workloadTokens: atLeast(parsed, [2, 13, 0]),
    workDirFlag: atLeast(parsed, [2, 12, 0]) ? '--work-dir' : '--config-dir',
  };
}

type Version = readonly [number, number, number];

function atLeast(version: Version, wanted: Version): boolean {
  const differing = version.findIndex((part, index) => part !== wanted[index]);
  return differing === -1 || (version[differing] ?? 0) > (wanted[differing] ?? 0);
}

/** A fix that went into older lines as well: by minor version, the first patch that has it. */
function fixedLine([major, minor, patch]: Version, lines: Readonly<Record<number, number>>): boolean {
  return major === 2 && patch >= (lines[minor] ?? Number.POSITIVE_INFINITY);
}
