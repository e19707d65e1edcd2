import type { RecordedVersion } from './recorded.ts';

/** The Kuma versions that the emulator plays. `2.7.11` is read from its source, the others were also recorded. */
const KUMA_VERSIONS = ['2.7.11', '2.10.1', '2.14.3', '3.0.0-preview'] as const;
export type KumaVersion = (typeof KUMA_VERSIONS)[number];

/** The differences between lines of Kuma that matter for a dataplane's coming and going. */
export interface VersionTraits {
  /** Folder below `recorded/` with answers of this version or of its nearest relative. */
  readonly recordedAs: RecordedVersion;
  /** Whether the control plane deletes a registered dataplane after its stream closed. kuma#13403 */
  readonly deletesAfterDisconnect: boolean;
  /** Whether a second stream of a name is refused as long as the first is not quite gone. kuma#12886 */
  readonly refusesSecondStream: boolean;
  /** Whether registration waits for the store cache to expire before the first configuration. kuma#11180 */
  readonly registrationWaitsForCache: boolean;
  /** Whether labels are kept, completed and shown. */
  readonly labels: boolean;
  readonly proxyTypeLabel: boolean;
  readonly displayNameLabel: boolean;
  readonly resourceIdentifier: boolean;
  /** Whether an insight carries Envoy's node metadata. */
  readonly insightMetadata: boolean;
  /** Whether PUT and DELETE answer `{}` rather than nothing. */
  readonly answersWrites: boolean;
  /** Whether a page size below 1 is refused. */
  readonly checksSmallPages: boolean;
  readonly inboundTags: boolean;
  /** Whether a dataplane must have an inbound or be a gateway. */
  readonly needsInbound: boolean;
  readonly zoneIngressPaths: readonly string[];
  readonly zoneEgressPaths: readonly string[];
  /** Whether Envoy's admin API listens on a Unix socket by default. */
  readonly adminSocket: boolean;
  /** Whether several Envoys may listen on one inbound port: a successor need not wait for its predecessor. */
  readonly reusePort: boolean;
  /** Whether a dataplane token says which workload it is for. */
  readonly tokenWorkload: boolean;
  /** By how much a token's times are before the moment it is issued. */
  readonly tokenBackdating: { readonly issuedAtMs: number; readonly notBeforeMs: number };
  /** Names of Envoy's clusters and listeners: Kuma 3 names them after the resource they come from. */
  readonly unifiedNames: boolean;
}

const V2_10: VersionTraits = {
  recordedAs: '2.10.1',
  deletesAfterDisconnect: false,
  refusesSecondStream: true,
  registrationWaitsForCache: true,
  labels: true,
  proxyTypeLabel: true,
  displayNameLabel: false,
  resourceIdentifier: false,
  insightMetadata: false,
  answersWrites: true,
  checksSmallPages: false,
  inboundTags: true,
  needsInbound: true,
  zoneIngressPaths: ['zone-ingresses'],
  zoneEgressPaths: ['zoneegresses'],
  adminSocket: false,
  reusePort: false,
  tokenWorkload: false,
  tokenBackdating: { issuedAtMs: 0, notBeforeMs: 300_000 },
  unifiedNames: false,
};

const V2_14: VersionTraits = {
  ...V2_10,
  recordedAs: '2.14.3',
  deletesAfterDisconnect: true,
  resourceIdentifier: true,
  insightMetadata: true,
  checksSmallPages: true,
  needsInbound: false,
  zoneIngressPaths: ['zoneingresses', 'zone-ingresses'],
  adminSocket: true,
  reusePort: true,
  tokenWorkload: true,
  tokenBackdating: { issuedAtMs: 5_000, notBeforeMs: 5_000 },
};

const TRAITS: Readonly<Record<KumaVersion, VersionTraits>> = {
  '2.7.11': {
    ...V2_10,
    refusesSecondStream: false,
    registrationWaitsForCache: false,
    labels: false,
    answersWrites: false,
  },
  '2.10.1': V2_10,
  '2.14.3': V2_14,
  '3.0.0-preview': {
    ...V2_14,
    recordedAs: '3.0.0-preview',
    proxyTypeLabel: false,
    displayNameLabel: true,
    inboundTags: false,
    zoneIngressPaths: [],
    zoneEgressPaths: [],
    unifiedNames: true,
  },
};

export function traitsOf(version: KumaVersion): VersionTraits {
  return TRAITS[version];
}
