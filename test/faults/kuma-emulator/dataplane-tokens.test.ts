import { createPublicKey, verify } from 'node:crypto';
import { expect, test } from 'vitest';

import { ControlPlane } from '../../support/kuma/control-plane.ts';
import { DataplaneTokens } from '../../support/kuma/dataplane-tokens.ts';
import { RECORDED_VERSIONS, recordedText } from '../../support/kuma/recorded.ts';
import { TemporaryDir } from '../../support/world/temporary-dir.ts';

interface Token {
  readonly header: Readonly<Record<string, unknown>>;
  readonly claims: Readonly<Record<string, unknown>> & {
    readonly exp: number;
    readonly nbf: number;
    readonly iat: number;
  };
}

test.for(RECORDED_VERSIONS)('%s: an issued token has the claims of a recorded one', async (version) => {
  await using controlPlane = await ControlPlane.start({ version, localhostIsAdmin: true });
  const issued = decode(await issue(controlPlane));
  const text = recordedText(version, 'dataplane-token-decoded.json');
  const recorded = JSON.parse(text) as Token;
  expect(issued.header).toEqual(recorded.header);
  expect(Object.keys(issued.claims)).toEqual(Object.keys(recorded.claims));
  expect(timeless(issued)).toEqual(timeless(recorded));
  expect(spans(issued)).toEqual(spans(recorded));
});

test('the newest signing key signs, and the keys outlive their control plane', async () => {
  using dir = new TemporaryDir();
  const options = { storeFile: dir.join('store.json'), localhostIsAdmin: true };
  const first = await ControlPlane.start(options);
  const { pem } = new DataplaneTokens(first.store, first.settings).publicKey('default');
  await first.crash();

  await using second = await ControlPlane.start(options);
  const token = await issue(second);
  expect(verifies(token, pem)).toBe(true);
  const data = await signingKey(second, 1);
  const rotated = { type: 'Secret', mesh: 'default', name: 'dataplane-token-signing-key-default-2', data };
  const url = `${second.httpUrl}/meshes/default/secrets/${rotated.name}`;
  expect((await fetch(url, { method: 'PUT', body: JSON.stringify(rotated) })).status).toBe(201);
  expect(decode(await issue(second)).header).toMatchObject({ kid: '2' });
});

async function issue(controlPlane: ControlPlane): Promise<string> {
  const body = JSON.stringify({ name: 'b1', mesh: 'default', type: 'dataplane', validFor: '24h' });
  const response = await fetch(`${controlPlane.httpUrl}/tokens/dataplane`, { method: 'POST', body });
  expect({ status: response.status, type: response.headers.get('content-type') }).toEqual({
    status: 200,
    type: 'text/plain',
  });
  return response.text();
}

async function signingKey(controlPlane: ControlPlane, id: number): Promise<string> {
  const path = `/meshes/default/secrets/dataplane-token-signing-key-default-${id}`;
  const response = await fetch(`${controlPlane.httpUrl}${path}`);
  return ((await response.json()) as { readonly data: string }).data;
}

function decode(token: string): Token {
  const [header, claims] = token
    .split('.')
    .slice(0, 2)
    .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()) as unknown);
  return { header, claims } as Token;
}

function verifies(token: string, pem: string): boolean {
  const [header = '', claims = '', signature = ''] = token.split('.');
  const signed = Buffer.from(`${header}.${claims}`);
  return verify('sha256', signed, createPublicKey(pem), Buffer.from(signature, 'base64url'));
}

function timeless({ claims }: Token): unknown {
  const { exp: _exp, nbf: _nbf, iat: _iat, jti: _jti, ...rest } = claims;
  return rest;
}

/** Between the times of a token, in seconds. */
function spans({ claims: { exp, nbf, iat } }: Token): unknown {
  return { valid: exp - iat, backdated: iat - nbf };
}
