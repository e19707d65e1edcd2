import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { beforeEach, describe, expect, test } from 'vitest';

import { lives } from '../support/world/processes.ts';
import { need, needPidNamespace } from '../support/need.ts';
import { Container, type Init } from '../support/supervisors/container.ts';
import type { DataplaneHost } from '../support/supervisors/dataplane-host.ts';
import { hostsOfThisFile } from '../support/supervisors/hosts.ts';
import { waitUntil } from '../support/world/wait-until.ts';

const ROOT = join(import.meta.dirname, '..', '..');

const host = hostsOfThisFile();

const DOCKERS_LIMIT_MS = 10_000;
const INITS: readonly Init[] = ['bare', 'tini', 'dumb-init'];

/** Starts a container and holds its agent, and no other process, where it cannot hear signals yet. */
async function startHeld(here: DataplaneHost, init: Init): Promise<Container> {
  const script = here.dir.join('hold.cjs');
  const reached = here.dir.join('held');
  writeFileSync(
    script,
    `if (process.argv[1]?.endsWith('kuma-dp-agent/main.js')) {
      require('node:fs').writeFileSync(${JSON.stringify(reached)}, '');
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000);
    }`,
  );
  // The launcher keeps NODE_OPTIONS away from its Node.
  const preloaded = [process.execPath, '--require', script, join(ROOT, 'dist/kuma-dp-agent/main.js')];
  const container = Container.documented(here, init, (argv) =>
    argv.flatMap((word) => (word.endsWith('/kuma-dp-agent') ? preloaded : [word])),
  );
  await container.start();
  await waitUntil(() => existsSync(reached), { what: 'the agent’s Node' });
  return container;
}

describe.concurrent('a container', () => {
  beforeEach((context) => {
    needPidNamespace(context);
    need(context, 'tini', 'dumb-init', 'nsenter');
  });

  test.for(INITS)('is stopped in order, within Docker’s limit: %s', async (init) => {
    await using here = await host();
    const container = Container.documented(here, init);
    await container.start();
    await here.untilServing();

    expect(await container.stop(DOCKERS_LIMIT_MS)).toEqual({ code: 0, signal: null });

    expect(here.keptOrder).toBe(true);
    await here.untilOnly(undefined);
  });

  test.for(INITS)('ends as its kuma-dp did: %s', async (init) => {
    await using here = await host();
    const container = Container.documented(here, init);
    await container.start();
    await here.untilServing();

    here.kill('kuma-dp');

    expect(await container.exited).toEqual({ code: 137, signal: null });
    expect(here.deletedAtMs).toHaveLength(1);
    await here.untilOnly(undefined);
  });

  test.for(INITS)('ends as a kuma-dp that does not start: %s', async (init) => {
    await using here = await host();
    const container = Container.documented(here, init, (argv) => [...argv, '--nonsense']);
    await container.start();

    expect(await container.exited).toEqual({ code: 1, signal: null });
  });

  test.for(INITS)(
    'whose agent is killed ends with everybody in it, and its object stays: %s',
    async (init) => {
      await using here = await host();
      const container = Container.documented(here, init);
      await container.start();
      await here.untilServing();
      const held = await here.hold();

      here.kill('agent');

      await container.exited;
      await here.untilOnly(undefined, 1_000);
      expect(await held.status).toBe('cut');
      expect(here.deletedAtMs).toEqual([]);
    },
  );

  test.for(['bare', 'tini', 'dumb-init'] as const)(
    'a process that lost its parent is waited for: %s',
    async (init) => {
      await using here = await host();
      const container = Container.documented(here, init);
      await container.start();
      await here.untilServing();

      container.exec('sh', '-c', 'sleep 3.5 &');
      // The shell may not have become the orphan yet.
      const { pid: orphan } = await waitUntil(
        () => here.living.find(({ command }) => command === 'sleep 3.5'),
        { what: 'the orphan' },
      );
      await waitUntil(() => !lives(orphan), { what: 'the end of the orphan' });
      await waitUntil(() => here.zombies.length === 0, { what: 'a parent to wait for it' });
      expect(here.zombies).toEqual([]);
    },
  );

  test('a limit that is too short cuts the drain, and the deregistration was before', async () => {
    await using here = await host();
    const container = Container.documented(here, 'tini');
    await container.start();
    await here.untilServing();
    const held = await here.hold();

    await container.stop(3_000);

    expect(here.keptOrder).toBe(true);
    expect(await held.status).toBe('cut');
    expect(here.reports).toEqual([]);
    await here.untilOnly(undefined);
  });

  test.for([
    { what: 'tini -g', init: 'tini', change: (word: string) => (word === '--' ? ['-g', '--'] : [word]) },
    {
      what: 'dumb-init without --single-child',
      init: 'dumb-init',
      change: (word: string) => (word === '--single-child' ? [] : [word]),
    },
  ] as const)('$what: kuma-dp gets the stop signal before the agent acts on it', async ({ init, change }) => {
    await using here = await host();
    // Only the init's own words: what comes after its "--" is the same.
    const container = Container.documented(here, init, ([program = '', ...rest]) => {
      const end = rest.indexOf('--') + 1;
      return [program, ...rest.slice(0, end).flatMap(change), ...rest.slice(end)];
    });
    await container.start();
    await here.untilServing();

    await container.stop(DOCKERS_LIMIT_MS);

    expect(here.keptOrder).toBe(false);
    expect(here.deletedAtMs).toHaveLength(1);
  });

  test('a script as entrypoint, without exec: no process gets the stop signal', async () => {
    await using here = await host();
    const container = Container.documented(here, 'bare', (argv) => [
      'sh',
      '-c',
      '"$@"; true',
      'entrypoint',
      ...argv,
    ]);
    await container.start();
    await here.untilServing();
    const held = await here.hold();

    await container.stop(3_000);

    expect(await held.status).toBe('cut');
    expect(here.heardAtMs).toEqual([]);
    expect(here.deletedAtMs).toEqual([]);
    await here.untilOnly(undefined);
  });

  describe('told to stop while the agent’s Node starts', () => {
    test('PID 1 does not hear of it, and serves', async () => {
      await using here = await host();
      const container = await startHeld(here, 'bare');
      container.signal('SIGTERM');
      await here.untilServing();
      expect(await container.stop(DOCKERS_LIMIT_MS)).toEqual({ code: 0, signal: null });
    });

    test('behind an init it ends at once, and kuma-dp was not started', async () => {
      await using here = await host();
      const container = await startHeld(here, 'tini');
      container.signal('SIGTERM');
      expect(await container.exited).toEqual({ code: 143, signal: null });
      expect(here.log).not.toContain('starting Data Plane');
    });
  });
});
