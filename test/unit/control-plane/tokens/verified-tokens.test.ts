import { createPublicKey, generateKeyPairSync } from 'node:crypto';

import { describe, expect, test } from 'vitest';

import { VerifiedTokens } from '../../../../control-plane/tokens/verified-tokens.io.ts';

const WALL_MS = 1_800_000_000_000;
const NOW_S = WALL_MS / 1_000;
const { publicKey: KEY } = generateKeyPairSync('rsa', { modulusLength: 2_048 });
const { publicKey: OTHER } = generateKeyPairSync('rsa', { modulusLength: 2_048 });

function resultOf(payload: { readonly exp?: number; readonly nbf?: number } = {}) {
  return { payload, protectedHeader: { alg: 'RS256', kid: '1' }, key: new Uint8Array() };
}

describe('VerifiedTokens', () => {
  test('knows a token while its key is the one that is found for it, by its key id', async () => {
    const verified = new VerifiedTokens();
    const result = resultOf();
    verified.add('token', KEY, result);
    const asked: unknown[] = [];
    const find = (kid: unknown) => {
      asked.push(kid);
      return Promise.resolve(KEY);
    };
    expect(await verified.find('token', find, WALL_MS)).toBe(result);
    expect(asked).toEqual(['1']);
    const readAgain = createPublicKey(KEY.export({ type: 'spki', format: 'pem' }));
    expect(await verified.find('token', () => Promise.resolve(readAgain), WALL_MS)).toBe(result);
    expect(await verified.find('token', () => Promise.resolve(OTHER), WALL_MS)).toBeUndefined();
    expect(await verified.find('other', find, WALL_MS)).toBeUndefined();
  });

  test('returns the result of the key search', async () => {
    const verified = new VerifiedTokens();
    verified.add('token', KEY, resultOf());
    const failure = new Error('there is no key');
    await expect(verified.find('token', () => Promise.reject(failure), WALL_MS)).rejects.toBe(failure);
  });

  test.for([
    { name: 'expires this second', payload: { exp: NOW_S }, known: false },
    { name: 'expires the next second', payload: { exp: NOW_S + 1 }, known: true },
    { name: 'begins this second', payload: { nbf: NOW_S }, known: true },
    { name: 'begins the next second', payload: { nbf: NOW_S + 1 }, known: false },
  ])('one that $name is known: $known', async ({ payload, known }) => {
    const verified = new VerifiedTokens();
    verified.add('token', KEY, resultOf(payload));
    const found = await verified.find('token', () => Promise.resolve(KEY), WALL_MS + 999);
    expect(found !== undefined).toBe(known);
  });

  test('remembers a bounded number, the newest', async () => {
    const verified = new VerifiedTokens();
    for (let at = 0; at <= 20_000; at += 1) verified.add(`token ${at}`, KEY, resultOf());
    const isKnown = async (at: number) =>
      (await verified.find(`token ${at}`, () => Promise.resolve(KEY), WALL_MS)) !== undefined;
    expect([await isKnown(0), await isKnown(1), await isKnown(20_000)]).toEqual([false, true, true]);
  });
});
