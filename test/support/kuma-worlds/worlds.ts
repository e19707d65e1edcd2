import { type KumaVersion } from '../kuma/version-traits.ts';
import { EmulatedWorld } from './emulated-world.ts';
import { emulatedZones } from './emulated-zones.ts';
import { type KumaWorld, type KumaZones, type WorldOptions } from './kuma-world.ts';
import { realZones } from './real-zones.ts';
import { RealWorld, versionOf } from './real-world.ts';

/** A Kuma to hold the contract against. */
export interface KumaUnderTest {
  /** For titles: `emulated 2.14.3`, `Kuma 2.14.3`. */
  readonly label: string;
  readonly real: boolean;
  readonly create: (options?: WorldOptions) => Promise<KumaWorld>;
  /** Two zones under one global control plane, with mTLS. */
  readonly createZones: (options?: WorldOptions) => Promise<KumaZones>;
}

const EMULATED: readonly KumaVersion[] = ['2.7.11', '2.10.1', '2.14.3', '3.0.0-preview'];

/**
 * The emulated versions on which the whole agent runs. More of them cost processes without insight, since end-to-end
 * tests go deeper: one version leaks objects and has a TCP admin, the other does neither.
 */
const EMULATED_FOR_AGENT: ReadonlySet<string> = new Set(['emulated 2.10.1', 'emulated 3.0.0-preview']);

/** Why there is no real Kuma among {@link kumasUnderTest}. */
export const realKumaMissing = missing();

/** What the suite runs on: the emulator always, real Kuma where its binaries are given. */
export const kumasUnderTest: readonly KumaUnderTest[] =
  realKumaMissing === undefined && process.env['KUMA_TEST_REAL_ONLY'] === '1'
    ? [await realKuma()]
    : [
        ...EMULATED.map((version) => emulated(version)),
        ...(realKumaMissing === undefined ? [await realKuma()] : []),
      ];

export const kumasUnderAgent = kumasUnderTest.filter(
  ({ label, real }) => real || EMULATED_FOR_AGENT.has(label),
);

/**
 * The Kuma on which a stop alone and a stop with the agent are compared: one version, since only its answers differ.
 */
export const kumaEmulated = emulated('2.14.3');
/** One emulated version and the real ones, for tests that cost many processes. */
export const kumasUnderZones = kumasUnderTest.filter(
  ({ label, real }) => real || label === kumaEmulated.label,
);
export const realKumas = kumasUnderTest.filter(({ real }) => real);

function missing(): string | undefined {
  const unset = ['KUMA_CP_BIN', 'KUMA_DP_BIN'].filter((name) => (process.env[name] ?? '') === '');
  return unset.length === 0 ? undefined : `${unset.join(' and ')} not set`;
}

function emulated(version: KumaVersion): KumaUnderTest {
  return {
    label: `emulated ${version}`,
    real: false,
    create: (options = {}) => EmulatedWorld.create(version, options),
    createZones: (options = {}) => emulatedZones(version, options),
  };
}

async function realKuma(): Promise<KumaUnderTest> {
  const binaries = {
    controlPlane: process.env['KUMA_CP_BIN'] ?? '',
    dataplane: process.env['KUMA_DP_BIN'] ?? '',
  };
  const version = await versionOf(binaries.controlPlane);
  return {
    label: `Kuma ${version}`,
    real: true,
    create: (options = {}) => RealWorld.create(binaries, options),
    createZones: (options = {}) => realZones(binaries, options),
  };
}
