import { createServer, type RequestListener } from 'node:http';
import { rmSync, utimesSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';

import { describe, expect, onTestFinished, test } from 'vitest';

import { publicKeyFiles } from '../../../../control-plane/tokens/public-key-files.io.ts';
import { secretReader } from '../../../../control-plane/tokens/secret-reader.io.ts';
import { KeyLookups } from '../../../../control-plane/tokens/key-lookups.ts';
import { signingKeySecrets } from '../../../../control-plane/tokens/signing-key-secrets.io.ts';
import { tokenRevocations } from '../../../../control-plane/tokens/token-revocations.io.ts';
import { readPublicKeyOption } from '../../../../control-plane/tokens/public-key-option.pure.ts';
import type { TokenProblem } from '../../../../control-plane/tokens/token-ports.ts';
import { systemClock } from '../../../../kernel/clock.ts';
import type { Scope } from '../../../../kernel/bounds.ts';
import { RestClient } from '../../../../kuma/rest-client.io.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { makeSigningKey } from '../../../support/signed-token.ts';
import { TemporaryDir } from '../../../support/world/temporary-dir.ts';
import { DOWN, FORBIDDEN, SecretsAtHand } from './secrets-at-hand.ts';

const KEY = makeSigningKey();
const OTHER = makeSigningKey();
const ANY_AGE = { maxAgeMs: Number.POSITIVE_INFINITY, address: '192.0.2.1' };
const KEY_PATH = 'meshes/default/secrets/dataplane-token-signing-key-default-1';
const GLOBAL_LIST = 'global-secrets/dataplane-token-revocations-default';
const MESH_LIST = 'meshes/default/secrets/dataplane-token-revocations-default';

function temporaryDir(): TemporaryDir {
  const dir = new TemporaryDir();
  onTestFinished(() => {
    dir[Symbol.dispose]();
  });
  return dir;
}

/** Writes with a time of its own: two writes within one tick of the file system's clock look the same. */
function write(path: string, text: string, second: number): void {
  writeFileSync(path, text);
  utimesSync(path, second, second);
}

describe('readPublicKeyOption()', () => {
  test.for([
    { text: '1=/keys/1.pem', value: { mesh: '', kid: '1', path: '/keys/1.pem' } },
    { text: 'default/1=/keys/a=b.pem', value: { mesh: 'default', kid: '1', path: '/keys/a=b.pem' } },
  ])('$text', ({ text, value }) => {
    expect(readPublicKeyOption(text)).toEqual({ value });
  });

  test.for([
    '',
    '/keys/1.pem',
    '1=',
    '=/keys/1.pem',
    'a/b/1=/keys/1.pem',
    '/1=/keys/1.pem',
    'a/=/keys/1.pem',
  ])('refused: "%s"', (text) => {
    expect(readPublicKeyOption(text)).toEqual({ problem: 'expected [MESH/]KID=FILE' });
  });
});

describe('publicKeyFiles()', () => {
  function scene() {
    const dir = temporaryDir();
    const path = dir.join('key.pem');
    write(path, KEY.pkcs1Pem, 1);
    const problems: TokenProblem[] = [];
    const report = (problem: TokenProblem): void => {
      problems.push(problem);
    };
    const clock = new FakeClock();
    const keys = publicKeyFiles([{ mesh: '', kid: '1', path }], report, clock);
    const found = async (): Promise<string> => {
      clock.advance(100);
      const key = await keys.find({ mesh: 'default', kid: '1' }, ANY_AGE);
      if (key === undefined) return 'none';
      return key.equals(KEY.publicKey) ? 'first' : key.equals(OTHER.publicKey) ? 'other' : 'unknown';
    };
    return { path, problems, found };
  }

  test('a changed file is read again within 100 ms', async () => {
    const { path, found } = scene();
    const seen = [await found()];
    write(path, OTHER.pkixPem, 2);
    seen.push(await found());
    expect(seen).toEqual(['first', 'other']);
  });

  test.for([
    {
      name: 'half written',
      change: (path: string) => {
        write(path, OTHER.pkixPem.slice(0, 100), 2);
      },
      reason: /^this is not a public RSA key of 2048 bits or more/,
    },
    {
      name: 'gone',
      change: (path: string) => {
        rmSync(path);
      },
      reason: /^ENOENT/,
    },
  ])(
    'a file that is $name leaves the key that was read, is reported once, and counts when it is whole',
    async ({ change, reason }) => {
      const { path, problems, found } = scene();
      change(path);
      const seen: string[] = [];
      for (let look = 0; look < 3; look += 1) seen.push(await found());
      write(path, OTHER.pkixPem, 3);
      seen.push(await found());
      expect({ seen, problems }).toEqual({
        seen: ['first', 'first', 'first', 'other'],
        problems: [{ kind: 'file-unusable', path, reason: expect.stringMatching(reason) as string }],
      });
    },
  );

  test('a key of one mesh is not for another; one for every mesh wins, as in Kuma', async () => {
    const dir = temporaryDir();
    writeFileSync(dir.join('a.pem'), KEY.pkcs1Pem);
    writeFileSync(dir.join('b.pem'), OTHER.pkcs1Pem);
    const keys = publicKeyFiles(
      [
        { mesh: '', kid: '2', path: dir.join('b.pem') },
        { mesh: 'a', kid: '1', path: dir.join('a.pem') },
        { mesh: 'a', kid: '2', path: dir.join('a.pem') },
      ],
      () => {},
      new FakeClock(),
    );
    const found = async (mesh: string, kid: string) => {
      const key = await keys.find({ mesh, kid }, ANY_AGE);
      return key === undefined ? 'none' : key.equals(KEY.publicKey) ? 'mesh' : 'every';
    };
    expect({
      a1: await found('a', '1'),
      b1: await found('b', '1'),
      a2: await found('a', '2'),
      b2: await found('b', '2'),
      a3: await found('a', '3'),
    }).toEqual({ a1: 'mesh', b1: 'none', a2: 'every', b2: 'every', a3: 'none' });
  });

  test.for([
    { name: 'missing', text: undefined },
    { name: 'a private key', text: KEY.privatePem },
  ])('a file that is $name stops the start, and is not quoted', ({ text }) => {
    const dir = temporaryDir();
    const path = dir.join('key.pem');
    if (text !== undefined) writeFileSync(path, text);
    const open = (): unknown => publicKeyFiles([{ mesh: '', kid: '1', path }], () => {}, new FakeClock());
    expect(open).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining(`Cannot use "${path}" as a public RSA key`) as string,
      }),
    );
    expect(open).toThrow(
      expect.toSatisfy(
        (error: unknown) => !inspect(error, { depth: 9 }).includes(KEY.privatePem.slice(40, 80)),
      ),
    );
  });
});

function secretScene(isKnownMesh: (mesh: string) => boolean = () => false) {
  const clock = new FakeClock();
  const control = new SecretsAtHand();
  control.secrets.set(KEY_PATH, KEY.privatePem);
  const refused: Scope[] = [];
  const lookups = new KeyLookups({ clock, isKnownMesh, onRefused: (scope) => refused.push(scope) });
  const keys = signingKeySecrets({ read: control.read, lookups, clock });
  const find = async (mesh: string, kid: string, address = '192.0.2.1'): Promise<string> => {
    try {
      const key = await keys.find({ mesh, kid }, { ...ANY_AGE, address });
      return key === undefined ? 'none' : key.equals(KEY.publicKey) ? 'found' : 'another';
    } catch (error) {
      return (error as { code?: string }).code ?? 'bug';
    }
  };
  return { clock, control, keys, find, refused };
}

describe('signingKeySecrets()', () => {
  test('a storm of agents is one request, and only the public half is given out', async () => {
    const { control, keys } = secretScene();
    const found = await Promise.all(
      Array.from({ length: 2_500 }, () => keys.find({ mesh: 'default', kid: '1' }, ANY_AGE)),
    );
    expect({ reads: control.reads, types: new Set(found.map((key) => key?.type)) }).toEqual({
      reads: [KEY_PATH],
      types: new Set(['public']),
    });
  });

  test.for([
    { name: 'there are none', failure: undefined },
    { name: 'the control plane is down', failure: DOWN },
    { name: 'they may not be read', failure: FORBIDDEN },
  ])('invented key ids do not hammer the control plane while $name', async ({ failure }) => {
    const { clock, control, find, refused } = secretScene();
    await find('default', '1');
    control.failure = failure;
    for (let kid = 100; kid < 1_100; kid += 1) {
      clock.advance(9);
      await find(`mesh-${kid % 7}`, String(kid), `192.0.2.${kid % 5}`);
    }
    expect(control.reads).toHaveLength(1 + 49);
    expect(new Set(refused)).toEqual(new Set(['all']));
    expect(await find('default', '1')).toBe('found');
    control.failure = undefined;
    clock.advance(10_000);
    expect(await find('default', '9')).toBe('none');
  });

  test('the invented ids of one address leave look-ups for another', async () => {
    const { find, refused } = secretScene();
    const outcomes = [];
    for (let kid = 0; kid < 40; kid += 1) outcomes.push(await find('default', `key-${kid}`, '192.0.2.66'));
    expect(outcomes.filter((outcome) => outcome === 'ENDPOINT_BUSY')).toHaveLength(20);
    expect(await find('default', 'key-a', '192.0.2.1')).toBe('none');
    expect(new Set(refused)).toEqual(new Set(['address']));
  });

  test('what a mesh of the zone may well have is looked up, whatever strangers at the same address invent', async () => {
    const { clock, control, find } = secretScene((mesh) => mesh === 'default');
    for (let kid = 0; kid < 100; kid += 1) await find('default', `key-${kid}`);
    for (let kid = 10; kid < 110; kid += 1) await find('default', String(kid));
    for (let mesh = 0; mesh < 100; mesh += 1) await find(`mesh-${mesh}`, '1');
    expect(await find('default', '1')).toBe('found');
    // A rotation: the next number, although the unknown caller continues.
    control.secrets.set(KEY_PATH.replace(/1$/, '2'), KEY.privatePem);
    expect(await find('default', '2')).toBe('found');
    control.secrets.set(KEY_PATH.replace(/1$/, '5'), KEY.privatePem);
    clock.advance(9_000);
    expect(await find('default', '5')).toBe('found');
  });

  test('the ids that a mesh may have are few: a stranger who tries them all makes few requests', async () => {
    const { control, find } = secretScene(() => true);
    for (let kid = 0; kid < 2_000; kid += 1) await find('default', String(kid));
    // 0 to 3, then 1 was found: 4; and what one address may ask for.
    expect(control.reads).toHaveLength(5 + 20);
  });
});

function revocationScene(files: readonly string[] = []) {
  const clock = new FakeClock();
  const control = new SecretsAtHand();
  const problems: TokenProblem[] = [];
  const report = (problem: TokenProblem): void => {
    problems.push(problem);
  };
  const revocations = tokenRevocations({ read: control.read, files, clock, report });
  return { clock, control, problems, isRevoked: (id: string) => revocations.isRevoked(id, 'default') };
}

describe('tokenRevocations()', () => {
  test('both lists are read again after ten seconds, and not before', async () => {
    const { clock, control, isRevoked } = revocationScene();
    const seen = [await isRevoked('a'), await isRevoked('a')];
    control.secrets.set(GLOBAL_LIST, 'a');
    clock.advance(9_999);
    seen.push(await isRevoked('a'));
    clock.advance(1);
    seen.push(await isRevoked('a'), await isRevoked('b'));
    expect({ seen, reads: control.reads }).toEqual({
      seen: [false, false, false, true, false],
      reads: [GLOBAL_LIST, MESH_LIST, GLOBAL_LIST, MESH_LIST],
    });
  });

  test.for([
    { name: 'without an admin’s access', failure: FORBIDDEN, reason: 'Cannot read it: status 403' },
    { name: 'while the control plane is down', failure: DOWN, reason: 'Cannot read it: connection refused' },
  ])('$name tokens are accepted, which is reported once until it is over', async ({ failure, reason }) => {
    const { clock, control, problems, isRevoked } = revocationScene();
    const both = [GLOBAL_LIST, MESH_LIST].map((path) => ({ kind: 'revocations-unknown', path, reason }));
    control.failure = failure;
    const seen = [await isRevoked('a')];
    clock.advance(60_000);
    seen.push(await isRevoked('a'));
    const first = problems.splice(0);
    control.failure = undefined;
    control.secrets.set(MESH_LIST, 'a');
    clock.advance(2_000);
    seen.push(await isRevoked('a'));
    control.failure = failure;
    clock.advance(60_000);
    seen.push(await isRevoked('a'));
    expect({ seen, first, again: problems }).toEqual({
      seen: [false, false, true, true],
      first: both,
      again: both,
    });
  });

  test('a list that was read once holds while it cannot be read', async () => {
    const { clock, control, isRevoked } = revocationScene();
    control.secrets.set(GLOBAL_LIST, 'a');
    await isRevoked('a');
    control.failure = DOWN;
    clock.advance(86_400_000);
    expect([await isRevoked('a'), await isRevoked('b')]).toEqual([true, false]);
  });

  test('a mounted list counts as well, and is read again when it changes', async () => {
    const path = temporaryDir().join('revoked');
    write(path, 'a\n', 1);
    const { clock, control, isRevoked } = revocationScene([path]);
    control.secrets.set(GLOBAL_LIST, 'c');
    const seen = [await isRevoked('a'), await isRevoked('b'), await isRevoked('c')];
    write(path, 'a,b\n', 2);
    clock.advance(100);
    seen.push(await isRevoked('b'));
    expect(seen).toEqual([true, false, true, true]);
  });

  test('with mounted lists alone no control plane is asked', async () => {
    const path = temporaryDir().join('revoked');
    writeFileSync(path, 'a');
    const revocations = tokenRevocations({
      read: undefined,
      files: [path],
      clock: new FakeClock(),
      report: () => undefined,
    });
    expect([
      await revocations.isRevoked('a', 'default'),
      await revocations.isRevoked('b', 'default'),
    ]).toEqual([true, false]);
  });

  test('a mounted list that is missing stops the start', () => {
    const path = temporaryDir().join('missing');
    expect(() => revocationScene([path])).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  });
});

async function client(listener: RequestListener): Promise<RestClient> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const rest = new RestClient({
    url: new URL(`http://127.0.0.1:${port}`),
    tls: { ca: undefined, clientCertificate: undefined, clientKey: undefined, skipVerify: false },
    userToken: () => 'the-admin-token',
  });
  onTestFinished(() => {
    rest.close();
    server.closeAllConnections();
    server.close();
  });
  return rest;
}
const json =
  (status: number, body: unknown): RequestListener =>
  (_request, response) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  };

describe('secretReader()', () => {
  const missing = json(404, { status: 404, title: 'Could not retrieve a resource', detail: 'Not found' });
  const secret = json(200, {
    type: 'Secret',
    mesh: 'default',
    name: 'x',
    data: Buffer.from(KEY.privatePem).toString('base64'),
  });

  test('the secret is read with the admin’s token, from the path of Kuma', async () => {
    const requests: unknown[] = [];
    const rest = await client((request, response) => {
      requests.push([request.method, request.url, request.headers.authorization]);
      secret(request, response);
    });
    const found = await secretReader([rest], systemClock)(KEY_PATH);
    expect([found?.toString(), requests]).toEqual([
      KEY.privatePem,
      [['GET', `/${KEY_PATH}`, 'Bearer the-admin-token']],
    ]);
  });

  test('a missing secret is missing', async () => {
    const read = secretReader([await client(missing)], systemClock);
    expect(await read(KEY_PATH)).toBeUndefined();
  });

  test.for<{ readonly name: string; readonly listener: RequestListener }>([
    { name: 'is starting', listener: json(503, {}) },
    { name: 'hangs', listener: () => undefined },
    {
      name: 'dies',
      listener: (request) => {
        request.destroy();
      },
    },
  ])('another control plane answers for one that $name', async ({ listener }) => {
    const read = secretReader([await client(listener), await client(secret)], systemClock);
    expect((await read(KEY_PATH))?.toString()).toBe(KEY.privatePem);
  });

  test.for<{ readonly name: string; readonly code: string; readonly listener: RequestListener }>([
    {
      name: 'the key itself instead of JSON',
      code: 'ANSWER_UNREADABLE',
      listener: (_request, response) => {
        response.end(KEY.privatePem);
      },
    },
    {
      name: 'half of the JSON',
      code: 'ANSWER_UNREADABLE',
      listener: (_request, response) => {
        response.end(`{"type":"Secret","data":"${Buffer.from(KEY.privatePem).toString('base64')}`);
      },
    },
    {
      name: 'JSON of another shape',
      code: 'ANSWER_UNREADABLE',
      listener: json(200, { key: KEY.privatePem }),
    },
    {
      name: 'a refusal',
      code: 'ENDPOINT_REJECTED',
      listener: json(403, { status: 403, title: 'Access Denied' }),
    },
    {
      name: 'a broken answer',
      code: 'ENDPOINT_UNREACHABLE',
      listener: (_request, response) => {
        response.socket?.end(`HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n${KEY.privatePem}`);
      },
    },
    { name: 'nothing for 800 ms', code: 'DEADLINE_EXCEEDED', listener: () => undefined },
  ])('no error quotes $name', async ({ code, listener }) => {
    const read = secretReader([await client(listener)], systemClock);
    const error: unknown = await read(KEY_PATH).catch((caught: unknown) => caught);
    const shown = `${inspect(error, { depth: 9, showHidden: true })} ${JSON.stringify(error)}`;
    const encoded = Buffer.from(KEY.privatePem).toString('base64');
    const secrets = [
      'the-admin-token',
      KEY.privatePem.slice(33, 45),
      encoded.slice(0, 8),
      encoded.slice(-12),
    ];
    expect({
      code: (error as { code?: string }).code,
      leaked: secrets.filter((part) => shown.includes(part)),
    }).toEqual({
      code,
      leaked: [],
    });
  });
});
