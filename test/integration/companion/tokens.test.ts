import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { DeregisterResponse_Outcome as Outcome } from '../../../proto/gen/deregistrar/v1/deregistrar.ts';
import type { AttachedClient } from '../../support/attached-client.ts';
import { CompanionWorld, dataplane } from '../../support/companion-world.ts';
import { TemporaryDir } from '../../support/world/temporary-dir.ts';
import { byHmac, bySha, makeSigningKey, signToken, type TokenJson } from '../../support/signed-token.ts';

const KEY = makeSigningKey();
const OTHER_KEY = makeSigningKey();
const MOUNTED_KEY = makeSigningKey();
const REVOKED = randomUUID();
const GLOBALLY_REVOKED = randomUUID();
const NO_TOKEN = 'UNAUTHENTICATED: The caller has no valid dataplane token';
const NOT_FOR_IT = 'PERMISSION_DENIED: The dataplane token is not for this dataplane';

function claims(change: TokenJson = {}): TokenJson {
  const seconds = Math.floor(Date.now() / 1_000);
  const times = { exp: seconds + 3_600, nbf: seconds - 300, iat: seconds - 300 };
  return {
    Name: 'web-1',
    Mesh: 'default',
    Tags: {},
    Type: 'dataplane',
    ...times,
    jti: randomUUID(),
    ...change,
  };
}

/** As a control plane signs it. */
function tokenOf(change: TokenJson = {}): string {
  return signToken({ alg: 'RS256', kid: '1', typ: 'JWT' }, claims(change), bySha(256, KEY.privateKey));
}

function past(seconds: number): number {
  return Math.floor(Date.now() / 1_000) - seconds;
}

const RS256 = { alg: 'RS256', kid: '1', typ: 'JWT' };
const UNAUTHENTICATED: readonly (readonly [string, string])[] = [
  ['none at all', ''],
  ['no token', 'please'],
  ['expired', tokenOf({ exp: past(1) })],
  ['not valid yet', tokenOf({ nbf: past(-3_600), exp: past(-7_200) })],
  ['without an end that is a number', tokenOf({ exp: 'never' })],
  ['revoked in the mesh', tokenOf({ jti: REVOKED })],
  ['revoked globally', tokenOf({ jti: GLOBALLY_REVOKED })],
  ['of a wrong key', signToken(RS256, claims(), bySha(256, OTHER_KEY.privateKey))],
  ['for another mesh, by a key of this one', tokenOf({ Mesh: 'other' })],
  ['of an unknown key', signToken({ ...RS256, kid: '7' }, claims(), bySha(256, KEY.privateKey))],
  ['alg: none', signToken({ ...RS256, alg: 'none' }, claims(), () => '')],
  ['HS256 with the public key, PKIX', signToken({ ...RS256, alg: 'HS256' }, claims(), byHmac(KEY.pkixPem))],
  [
    'HS256 with the public key, PKCS#1',
    signToken({ ...RS256, alg: 'HS256' }, claims(), byHmac(KEY.pkcs1Pem)),
  ],
  ['RS512', signToken({ ...RS256, alg: 'RS512' }, claims(), bySha(512, KEY.privateKey))],
  ['changed after it was signed', tampered()],
  ['a bearer', `Bearer ${tokenOf()}`],
  ['huge', tokenOf({ padding: 'x'.repeat(20_000) })],
];

const MISNAMED: readonly (readonly [string, string])[] = [['for another name', tokenOf({ Name: 'web-2' })]];

/** Which only shows beside the object. */
const MISMATCHED: readonly (readonly [string, string])[] = [
  ['for another service', tokenOf({ Name: '', Tags: { 'kuma.io/service': ['db'] } })],
  ['for a tag that it has not', tokenOf({ Name: '', Tags: { version: ['v1'] } })],
  ['for a workload that it is not of', tokenOf({ Name: '', Workload: 'backend' })],
];

const DENIED = [...MISNAMED, ...MISMATCHED];

const GOOD: readonly (readonly [string, string])[] = [
  ['its own', tokenOf()],
  ['of any name', tokenOf({ Name: '' })],
  ['of its service', tokenOf({ Name: '', Tags: { 'kuma.io/service': ['web', 'api'] } })],
  ['of a mounted key', signToken({ ...RS256, kid: 'mounted' }, claims(), bySha(256, MOUNTED_KEY.privateKey))],
];

describe('a dataplane token', () => {
  let world: CompanionWorld;
  let victim: AttachedClient;
  let keys: TemporaryDir;

  beforeAll(async () => {
    keys = new TemporaryDir();
    writeFileSync(keys.join('mounted.pem'), MOUNTED_KEY.pkcs1Pem);
    world = await CompanionWorld.create({
      controlPlane: { localhostIsAdmin: true, meshes: ['default', 'other'] },
      companion: { authn: 'token', publicKeys: [`mounted=${keys.join('mounted.pem')}`] },
    });
    const { store } = world.controlPlane;
    const mesh = 'default';
    store.saveSecret({ mesh, name: 'dataplane-token-signing-key-default-1' }, base64(KEY.privatePem));
    store.saveSecret({ mesh, name: 'dataplane-token-revocations-default' }, base64(`x,${REVOKED}`));
    store.saveSecret({ mesh: '', name: 'dataplane-token-revocations-default' }, base64(GLOBALLY_REVOKED));
    await world.companion.start();
    await world.companion.waitUntilReady();
    victim = await world.running('web-1', { token: tokenOf(), resource: dataplane('web-1') });
  });

  afterAll(async () => {
    await world[Symbol.asyncDispose]();
    keys[Symbol.dispose]();
  });

  /** Everything that an agent can ask, by a caller with this token. */
  async function attempts(token: string, name = 'web-1'): Promise<readonly string[]> {
    using stranger = world.agent(name, { token, incarnation: victim.incarnation.id });
    const asked = [
      stranger.attach(),
      stranger.register(true, dataplane(name)),
      stranger.deregister(),
      stranger.confirm(),
    ];
    const settled = await Promise.allSettled(asked);
    return settled.map((one) =>
      one.status === 'rejected' ? String(one.reason).replace(/^\w*Error: /, '') : 'done',
    );
  }

  test.for(UNAUTHENTICATED)(
    'that is %s is invalid: the companion refuses everything, and nothing changes',
    async ([, token]) => {
      expect(await refusals(token, 'unauthenticated')).toEqual({
        words: [NO_TOKEN],
        counted: 4,
        changed: false,
      });
    },
  );

  test.for(DENIED)(
    '%s is not for this dataplane: the companion refuses everything, and nothing changes',
    async ([, token]) => {
      expect(await refusals(token, 'permission-denied')).toEqual({
        words: [NOT_FOR_IT],
        counted: 4,
        changed: false,
      });
    },
  );

  /** What everything that an agent can ask leads to with this token. */
  async function refusals(
    token: string,
    reason: string,
  ): Promise<{ readonly words: readonly string[]; readonly counted: number; readonly changed: boolean }> {
    const metric = `tokens_rejected_total{reason="${reason}"}`;
    const counted = await world.metric(metric);
    const before = await state();
    const words = [...new Set(await attempts(token))];
    return {
      words,
      counted: (await world.metric(metric)) - counted,
      changed: (await state()) !== before,
    };
  }

  async function state(): Promise<string> {
    const { dataplanes, departures } = await world.status();
    const rows = dataplanes.map(({ since: _since, ...rest }) => rest);
    return JSON.stringify([rows, departures, world.find('web-1'), world.requests('web-1')]);
  }

  test('that does not fit gets the same answer whether the dataplane exists or not', async () => {
    const token = tokenOf({ Name: 'web-2' });
    expect(await attempts(token, 'no-such-one')).toEqual(await attempts(token, 'web-1'));
    const bound = tokenOf({ Name: '', Tags: { 'kuma.io/service': ['db'] } });
    expect(await attempts(bound, 'no-such-one')).toEqual(await attempts(bound, 'web-1'));
    const expired = tokenOf({ exp: past(1) });
    expect(await attempts(expired, 'no-such-one')).toEqual(await attempts(expired, 'web-1'));
  });

  test('bound to tags does not take a name over with a resource that fits', async () => {
    const token = tokenOf({ Name: '', Tags: { 'kuma.io/service': ['db'] } });
    using stranger = world.agent('web-1', { token, resource: dataplane('web-1', 'db') });
    await expect(stranger.attach()).rejects.toThrow(NOT_FOR_IT);
    await expect(stranger.register(true)).rejects.toThrow(NOT_FOR_IT);
    await expect(stranger.deregister()).rejects.toThrow(NOT_FOR_IT);
  });

  test.for([...UNAUTHENTICATED, ...MISNAMED])(
    'that is %s does not show the facts of a departure either',
    async ([, token]) => {
      using stranger = world.agent('web-1', { token });
      const refused = /^(?:UNAUTHENTICATED|PERMISSION_DENIED): /;
      await expect(stranger.getControlPlane()).rejects.toThrow(refused);
    },
  );

  test.for([...GOOD, ...MISMATCHED])('%s shows the facts that a departure depends on', async ([, token]) => {
    using asking = world.agent('web-1', { token });
    expect(await asking.getControlPlane()).toEqual({
      version: '2.14.3',
      instanceId: world.controlPlane.instanceId,
      mode: 'zone',
      propagation: { seconds: 2, nanos: 0 },
      deregistrationDelay: { seconds: 10, nanos: 0 },
      hdsDelay: { seconds: 6, nanos: 0 },
    });
  });

  test('bound to tags shows them before there is a dataplane, too', async () => {
    const token = tokenOf({ Name: '', Tags: { 'kuma.io/service': ['web'] } });
    using early = world.agent('no-such-one', { token });
    expect(await early.getControlPlane()).toMatchObject({ mode: 'zone' });
  });

  test.for(GOOD)('%s lets it attach', async ([, token]) => {
    using again = world.agent('web-1', { token, incarnation: victim.incarnation.id });
    expect((await again.attach()).fenced).toBe(true);
    expect(await world.row('web-1')).toMatchObject({ state: 'attached' });
  });

  test('is not in the log, not in part either, and is not sent to the control plane', () => {
    const log = [
      ...world.companion.events.map((line) => JSON.stringify(line)),
      ...world.companion.spoken,
    ].join('\n');
    const all = [...UNAUTHENTICATED, ...DENIED, ...GOOD].map(([, token]) => token);
    const parts = all.flatMap((token) => token.split(/[. ]/)).filter((part) => part.length > 20);
    expect(parts.filter((part) => log.includes(part))).toEqual([]);
    expect(parts.filter((part) => world.controlPlane.journal.sawInRest(part))).toEqual([]);
    const reasons = new Set(world.companion.seen('token.refused').map(({ msg }) => msg));
    expect(reasons.size).toBeGreaterThan(6);
    // One line a minute of each reason.
    expect(world.companion.seen('agent.refused').length).toBeGreaterThanOrEqual(DENIED.length);
  });

  test('lets its own agent leave', async () => {
    const name = `web-${randomUUID()}`;
    const leaving = await world.running(name, { token: tokenOf({ Name: name }) });
    expect((await leaving.deregister()).outcome).toBe(Outcome.DELETED);
    expect(world.deletions(name)).toBe(1);
  });
});

function tampered(): string {
  const [header, , signature] = tokenOf({ Name: 'web-2' }).split('.');
  const body = Buffer.from(JSON.stringify(claims())).toString('base64url');
  return `${header}.${body}.${signature}`;
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
