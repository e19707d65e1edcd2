import { readFileSync } from 'node:fs';

import { expect, it } from 'vitest';

import { streamsOpened } from '../../../../agent/envoy/streams.ts';
import type { EnvoyAdmin } from '../../../../agent/ports.ts';

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

it.each(['2.10.1', '2.14.3', '3.0.0-preview'])(
  'counts the streams to a control plane of %s',
  async (version) => {
    const recorded = readFileSync(`test/support/kuma/recorded/${version}/envoy-stats-idle.txt`, 'utf8');
    expect(await streamsOpened(admin(recorded))).toBe(1);
  },
);

it('does not know where Envoy says nothing of it', async () => {
  expect(await streamsOpened(admin('cluster.web.upstream_cx_total: 7'))).toBeNaN();
});
