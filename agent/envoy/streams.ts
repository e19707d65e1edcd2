import type { EnvoyAdmin } from '../ports.ts';

/** Kuma 2 calls it `ads_cluster`, Kuma 3 `system_ads`. */
const FILTER = '^cluster\\.(ads_cluster|system_ads)\\.upstream_cx_total$';
const COUNT = /^cluster\.(?:ads_cluster|system_ads)\.upstream_cx_total: (\d+)$/m;

/**
 * How many connections to a control plane Envoy has begun.
 *
 * @returns `NaN` where it does not say
 * @see kuma v2.14.3 pkg/xds/bootstrap/template_v3.go, which names that cluster
 */
export async function streamsOpened(admin: EnvoyAdmin): Promise<number> {
  const count = COUNT.exec(await admin.stats(FILTER))?.[1];
  return count === undefined ? Number.NaN : Number(count);
}
