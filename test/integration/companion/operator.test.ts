import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { doctor } from '../../../control-plane/commands/doctor.ts';
import { resolveServeOptions } from '../../../control-plane/options.ts';
import { CompanionWorld, type CompanionWorldOptions } from '../../support/companion-world.ts';
import { TLS_FIXTURES } from '../../support/kuma/control-plane.ts';
import { makeSigningKey } from '../../support/signed-token.ts';

describe('an operator', () => {
  let world: CompanionWorld;

  beforeAll(async () => {
    world = await CompanionWorld.start();
  });

  afterAll(() => world[Symbol.asyncDispose]());

  test('puts a deleted object back as it was, once', async () => {
    const change = { labels: { team: 'blue' } };
    world.run('undone', change);
    const before = world.find('undone');
    const agent = world.agent('undone');
    await agent.attach();
    await agent.deregister();
    const { code, stdout } = await world.command('undo', 'default/undone');
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: expect.stringMatching(
        /^default\/undone is back, as it was when it was deleted at 20\d\d-.*Z\.\n$/,
      ) as string,
    });
    expect(world.find('undone')).toMatchObject({ spec: before?.spec, labels: before?.labels });
    expect(await world.command('undo', 'default/undone')).toEqual({
      code: 69,
      stdout: '',
      stderr: 'kuma-deregistrar: Cannot undo: default/undone already exists\n',
    });
    expect(world.companion.seen('departure.undone')).toHaveLength(1);
  });

  test('learns that an object cannot be put back', async () => {
    expect(await world.command('undo', 'default/never-there')).toEqual({
      code: 69,
      stdout: '',
      stderr: 'kuma-deregistrar: Cannot undo: no object of default/never-there was deleted within a day\n',
    });
    expect((await world.command('undo', 'never-there')).code).toBe(78);
    expect((await world.command('undo', '../etc/passwd')).code).toBe(78);
  });

  test('sees attached dataplanes and departures, as JSON too', async () => {
    await world.running('seen');
    const left = await world.running('left');
    await left.deregister();
    const { code, stdout } = await world.command('status', '--json');
    expect(code).toBe(0);
    const status = JSON.parse(stdout) as Awaited<ReturnType<CompanionWorld['status']>>;
    const rowsOf = (name: string): unknown =>
      [...status.dataplanes, ...status.departures].filter(({ dataplane }) => dataplane?.name === name);
    expect(status.store).toEqual({ kind: 'sqlite', problem: '', replicas: [status.replica] });
    expect(status.controlPlanes).toMatchObject([
      { url: world.controlPlane.httpUrl, controlPlane: { mode: 'zone', version: '2.14.3' }, problem: '' },
    ]);
    expect(rowsOf('seen')).toMatchObject([{ state: 'attached', replica: status.replica }]);
    expect(rowsOf('left')).toMatchObject([{ cause: 'requested', outcome: 'deleted', undoable: true }]);
    const text = (await world.command('status')).stdout;
    expect(text).toMatch(/^dataplanes: \d+ attached, 0 leaving or lost$/m);
    expect(text).toMatch(/default\/left +requested +deleted +its agent said that it leaves +undo possible/);
  });

  test('gets an error if the program does not run', async () => {
    await using other = await CompanionWorld.create();
    expect(await other.command('status')).toEqual({
      code: 69,
      stdout: '',
      stderr: `kuma-deregistrar: Cannot reach kuma-deregistrar at "${other.companion.adminSocket}": does it run here, and may you open that socket? (--admin-socket)\n`,
    });
  });
});

describe('doctor', () => {
  const CERTIFICATE = certificate('server');
  const FINE: CompanionWorldOptions = { controlPlane: { localhostIsAdmin: true } };

  test('finds nothing wrong with a good setup', async () => {
    await using world = await CompanionWorld.create(FINE);
    const argv = Object.entries({ ...placeOf(world), ...CERTIFICATE });
    const { code, stdout } = await world.command(
      'doctor',
      ...argv.flatMap(([flag, value]) => [`--${flag}`, value]),
    );
    expect({ code, findings: findingsIn(stdout) }).toEqual({ code: 0, findings: [] });
  });

  test('fails for a global control plane', async () => {
    const found = await examine({ controlPlane: { mode: 'global', localhostIsAdmin: true } }, CERTIFICATE);
    expect(found.code).toBe(2);
    expect(found.findings).toEqual([
      expect.stringMatching(/^FAIL control plane .*: global, version 2\.14\.3/),
    ]);
  });

  test('fails for a control plane that is down', async () => {
    const found = await examine(FINE, CERTIFICATE, (world) => world.controlPlane.stop());
    expect(found.code).toBe(2);
    expect(found.findings[0]).toMatch(/^FAIL control plane http:.*ECONNREFUSED/);
  });

  test('fails without keys, warns of mounted ones without revocations', async () => {
    const unknown = await examine({}, CERTIFICATE);
    expect(unknown.code).toBe(2);
    expect(unknown.findings).toEqual([
      expect.stringMatching(
        /^FAIL token keys: the control plane does not let the companion read its secrets: .* 403/,
      ),
    ]);
    const mounted = await examine({}, (world) => {
      const file = world.dir.join('key.pem');
      writeFileSync(file, makeSigningKey().pkixPem);
      return { ...CERTIFICATE, 'public-key': `1=${file}` };
    });
    expect(mounted.code).toBe(1);
    expect(mounted.findings).toEqual([
      expect.stringMatching(/^WARN token keys: .*the companion uses mounted keys/),
    ]);
  });

  test('fails for an invalid key', async () => {
    const found = await examine(FINE, (world) => {
      const file = world.dir.join('key.pem');
      writeFileSync(file, readFileSync(join(TLS_FIXTURES, 'README.md')));
      return { ...CERTIFICATE, 'public-key': `1=${file}` };
    });
    expect(found.code).toBe(2);
    expect(found.findings).toEqual([expect.stringMatching(/^FAIL token keys: .*key\.pem/)]);
  });

  test('fails for an expired or missing certificate', async () => {
    const expired = await examine(FINE, certificate('expired'));
    expect(expired.code).toBe(2);
    expect(expired.findings).toEqual([expect.stringMatching(/^FAIL certificate: .*expired\.crt, expired$/)]);
    const missing = await examine(FINE, {
      'tls-cert-file': '/nowhere.crt',
      'tls-key-file': '/nowhere.key',
    });
    expect(missing.code).toBe(2);
    expect(missing.findings).toEqual([expect.stringMatching(/^FAIL certificate: .*\/nowhere\.crt/)]);
  });

  test('asks the running program about its store, and fails if another program has it', async () => {
    const running = await examine(FINE, CERTIFICATE, async ({ companion }) => {
      await companion.start();
      await companion.waitUntilReady();
    });
    expect(running).toEqual({ code: 0, findings: [] });
    await using other = await CompanionWorld.start();
    const { store } = other.companion;
    const found = await examine({ ...FINE, companion: { store } }, CERTIFICATE);
    expect(found.code).toBe(2);
    expect(found.findings).toEqual([
      expect.stringMatching(/^FAIL store: Cannot use the store .*another process has it/),
    ]);
  });
});

type Flags = Readonly<Record<string, string>>;

/** What the doctor says, beside a companion that runs only if `prepare` starts it. */
async function examine(
  options: CompanionWorldOptions,
  flags: Flags | ((world: CompanionWorld) => Flags),
  prepare: (world: CompanionWorld) => Promise<unknown> = () => Promise.resolve(),
): Promise<{ readonly code: number | null; readonly findings: readonly string[] }> {
  await using world = await CompanionWorld.create(options);
  await prepare(world);
  const all = { ...placeOf(world), ...(typeof flags === 'function' ? flags(world) : flags) };
  const { values } = resolveServeOptions({
    flags: new Map(Object.entries(all).map(([flag, value]) => [flag, [value]])),
    env: {},
  });
  const { code, text } = await doctor(values);
  return { code, findings: findingsIn(text) };
}

function placeOf({ controlPlane, companion }: CompanionWorld): Flags {
  return {
    'kuma-api': controlPlane.httpUrl,
    store: companion.store,
    'admin-socket': companion.adminSocket,
  };
}

function findingsIn(text: string): readonly string[] {
  return text.split('\n').filter((line) => /^(FAIL|WARN)/.test(line));
}

function certificate(name: string): Flags {
  return {
    'tls-cert-file': join(TLS_FIXTURES, `${name}.crt`),
    'tls-key-file': join(TLS_FIXTURES, `${name}.key`),
  };
}
