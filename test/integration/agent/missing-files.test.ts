import { rmSync, writeFileSync } from 'node:fs';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { ControlPlane } from '../../support/kuma/control-plane.ts';
import { AGENT } from '../../support/world/fleet.ts';
import { KUMA_DP } from '../../support/world/dataplane-command.ts';
import { ManagedProcess } from '../../support/world/managed-process.ts';
import { TemporaryDir } from '../../support/world/temporary-dir.ts';

let controlPlane: ControlPlane;

beforeAll(async () => {
  controlPlane = await ControlPlane.start();
});

afterAll(async () => {
  await controlPlane[Symbol.asyncDispose]();
});

const RESOURCE = {
  type: 'Dataplane',
  mesh: 'default',
  name: 'web-1',
  networking: { address: '127.0.0.1', inbound: [{ port: 20_001, tags: { 'kuma.io/service': 'web' } }] },
};

/** As in a unit whose files are missing, for now or for good. */
const ROWS = [
  { missing: 'dataplane.yaml', kumaDpSays: /Error: .*dataplane\.yaml/ },
  { missing: 'token', kumaDpSays: /Error: .*token: no such file or directory/ },
  { missing: 'ca.crt', kumaDpSays: /Error: could not read certificate file .*ca\.crt/ },
] as const;

describe.concurrent('kuma-dp without one of its files', () => {
  test.for(ROWS)(
    '$missing: reports it in its own words, and the agent exits with its code',
    async ({ missing, kumaDpSays }) => {
      using dir = new TemporaryDir();
      writeFileSync(dir.join('dataplane.yaml'), JSON.stringify(RESOURCE));
      writeFileSync(dir.join('token'), 'a token');
      writeFileSync(dir.join('ca.crt'), 'a certificate');
      rmSync(dir.join(missing));
      const kumaDp = [
        'run',
        `--cp-address=${controlPlane.dataplaneUrl}`,
        `--dataplane-file=${dir.join('dataplane.yaml')}`,
        `--dataplane-token-file=${dir.join('token')}`,
        `--ca-cert-file=${dir.join('ca.crt')}`,
        `--work-dir=${dir.join('work')}`,
      ];
      const own = [`--endpoint=${controlPlane.httpUrl}`, `--state-dir=${dir.join('state')}`];
      await using bare = new ManagedProcess({ command: KUMA_DP, argv: kumaDp });
      await using wrapped = new ManagedProcess({
        command: AGENT,
        argv: ['run', ...own, '--', KUMA_DP, ...kumaDp],
      });
      const [{ code }, mirrored] = [await bare.exited, await wrapped.exited];
      expect(bare.stderr).toMatch(kumaDpSays);
      expect(wrapped.stderr).toMatch(kumaDpSays);
      expect(mirrored).toMatchObject({ code, signal: null });
      expect(code).not.toBe(0);
    },
  );
});
