import { expect, it } from 'vitest';

import { streamsOpened } from '../../../../agent/envoy/streams.ts';
import type { EnvoyAdmin } from '../../../../agent/ports.ts';
import { RECORDED_VERSIONS, recordedText } from '../../../support/kuma/recorded.ts';

/** An admin that filters as Envoy does. */
function admin(stats: string): EnvoyAdmin {
  return {
    stats: (filter: string) =>
      Promise.resolve(
        stats
          .split('\n')
          .filter((line) => new RegExp(filter).test(line.split(':')[0] ?? ''))
          .join('\n'),
      ),
  } as unknown as EnvoyAdmin;
}

it.each(RECORDED_VERSIONS)('counts the streams to a control plane of %s', async (version) => {
  const recorded = recordedText(version, 'envoy-stats-idle.txt');
  expect(await streamsOpened(admin(recorded))).toBe(1);
});

it('does not know where Envoy says nothing of it', async () => {
  expect(await streamsOpened(admin('cluster.web.upstream_cx_total: 7'))).toBeNaN();
});
