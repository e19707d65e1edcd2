import { describe, expect, inject, test } from 'vitest';

import { MeshHost } from '../support/systemd/mesh-host.ts';
import { stateOf } from '../support/systemd/unit-properties.ts';

const layer = inject('layer');
const OWNED = { KUMA_DP_AGENT_LIFECYCLE: 'agent' };

describe('two dataplanes on one host, kuma-dp@.service', () => {
  test('each stops, drains and is killed without the other', async () => {
    await using host = await MeshHost.boot({ layer });
    const web = await host.serve('web-1', { unit: 'kuma-dp@web-1', env: OWNED });
    const api = await host.serve('api-1', { unit: 'kuma-dp@api-1', env: OWNED });
    const agent = (
      ...args: readonly string[]
    ): Promise<{ code: number | null; stdout: string; stderr: string }> =>
      host.systemd.run(['kuma-dp-agent', ...args]);

    const status = await agent('status');
    expect(status.stdout).toContain('default/web-1');
    expect(status.stdout).toContain('default/api-1');
    expect((await agent('drain')).code, 'it has to be said which').toBe(78);
    expect(await agent('drain', '--wait', '--mesh', 'default', '--name', 'web-1')).toMatchObject({ code: 0 });
    await host.untilListed([api]);
    expect(await agent('resume', '--wait', '--mesh', 'default', '--name', 'web-1')).toMatchObject({
      code: 0,
    });
    await host.untilListed([api, web]);

    await host.systemd.systemctl('kill', '--signal', 'KILL', api.unit);
    await host.untilRestarted(api);
    await host.untilListed([api, web]);
    await host.systemd.systemctl('stop', web.unit);
    await host.untilListed([api]);

    expect(host.deletedOverRest).toEqual(
      ['api-1', 'web-1'].map((name) => `/meshes/default/dataplanes/${name}`),
    );
    expect(await stateOf(host.systemd, api.unit)).toBe('active running success 0 1');
  });
});
