import { describe, expect, test } from 'vitest';

import { judgeEndpoints } from '../../../../agent/doctor/endpoint-findings.pure.ts';
import {
  judgeBudget,
  judgeObject,
  judgeToken,
  type ObjectGiven,
} from '../../../../agent/doctor/host-findings.pure.ts';
import type { Finding } from '../../../../kernel/findings.ts';
import { DEFAULT_FACTS } from '../../../../kuma/control-plane.ts';
import type { DecodedToken } from '../../../../kuma/decoded-token.ts';
import { readOverview, type DataplaneOverview } from '../../../../kuma/overview.ts';

const DAY_MS = 86_400_000;
const NOW_MS = Date.UTC(2026, 0, 1);
const KEY = { proxyType: 'dataplane', mesh: 'default', name: 'web-1' } as const;
const USER = { key: KEY, resource: undefined, version: '2.14.3' };

describe('judgeBudget()', () => {
  const given = { budgetMs: 60_000, settleMs: 2_250, drainTimeMs: 30_000, supervisorMs: undefined };
  test.for<[string, Partial<typeof given> | { supervisorMs: number }, readonly Finding['level'][]]>([
    ['the default', {}, ['ok']],
    ['just enough', { budgetMs: 41_450 }, ['ok']],
    ['just too little', { budgetMs: 41_449 }, ['warning']],
    ['a supervisor that waits long enough', { supervisorMs: 61_000 }, ['ok', 'ok']],
    ['one that does not', { supervisorMs: 60_999 }, ['ok', 'failure']],
    ['Docker', { supervisorMs: 10_000 }, ['ok', 'failure']],
  ])('%s', ([, change, levels]) => {
    expect(judgeBudget({ ...given, ...change }).map(({ level }) => level)).toEqual(levels);
  });

  test('names a budget that fits', () => {
    expect(judgeBudget({ ...given, supervisorMs: 30_000 })[1]?.remedy).toMatch(/^--stop-budget 29s/);
    expect(judgeBudget({ ...given, supervisorMs: 500 })[1]?.remedy).toMatch(/^--stop-budget 1s/);
    expect(judgeBudget({ ...given, budgetMs: 20_000 })[0]?.remedy).toMatch(/^--stop-budget 42s/);
  });
});

describe('judgeToken()', () => {
  const claims = { name: '', mesh: 'default', tags: {}, workload: '', id: '' };
  const token = (
    change: Partial<DecodedToken> & { readonly name?: string; readonly mesh?: string },
  ): DecodedToken => ({
    expiresAtMs: NOW_MS + 30 * DAY_MS,
    notBeforeMs: undefined,
    ...change,
    claims: {
      ...claims,
      ...(change.name === undefined ? {} : { name: change.name }),
      ...(change.mesh === undefined ? {} : { mesh: change.mesh }),
    },
  });
  test.for<[string, DecodedToken, Finding['level']]>([
    ['for a month', token({}), 'ok'],
    ['for ever', token({ expiresAtMs: undefined }), 'ok'],
    ['for a week and a bit', token({ expiresAtMs: NOW_MS + 7 * DAY_MS + 1 }), 'ok'],
    ['for a week', token({ expiresAtMs: NOW_MS + 7 * DAY_MS }), 'warning'],
    ['for a moment', token({ expiresAtMs: NOW_MS + 1 }), 'warning'],
    ['no more', token({ expiresAtMs: NOW_MS }), 'failure'],
    ['not yet', token({ notBeforeMs: NOW_MS + 1 }), 'failure'],
    ['by now', token({ notBeforeMs: NOW_MS }), 'ok'],
    ['for this name', token({ name: 'web-1' }), 'ok'],
    ['for another name', token({ name: 'web-2' }), 'failure'],
    ['for another mesh', token({ mesh: 'other' }), 'failure'],
    ['bound to nothing', token({ mesh: '' }), 'ok'],
  ])('%s', ([, decoded, level]) => {
    expect(judgeToken(decoded, USER, NOW_MS).level).toBe(level);
  });

  test('compares tags and workload with what kuma-dp brings, where it is known how', () => {
    const bound = { ...token({}), claims: { ...claims, tags: { 'kuma.io/service': ['shop'] } } };
    const resource = {
      type: 'Dataplane',
      mesh: 'default',
      name: 'web-1',
      networking: { address: '10.0.0.1', inbound: [{ port: 1, tags: { 'kuma.io/service': 'web' } }] },
    };
    const user = { key: KEY, resource, version: '2.14.3' };
    expect(judgeToken(bound, user, NOW_MS)).toMatchObject({
      level: 'failure',
      says: expect.stringContaining('has kuma.io/service="web", which the token does not allow') as string,
    });
    const allowed = { ...bound, claims: { ...claims, tags: { 'kuma.io/service': ['shop', 'web'] } } };
    expect(judgeToken(allowed, user, NOW_MS).level).toBe('ok');
    expect(judgeToken(bound, { ...user, version: undefined }, NOW_MS).level).toBe('ok');
    expect(judgeToken(bound, { ...user, resource: undefined }, NOW_MS).level).toBe('ok');
    const zone = { ...user, key: { ...KEY, proxyType: 'ingress', mesh: '' } } as const;
    expect(judgeToken({ ...bound, claims: { ...bound.claims, mesh: '' } }, zone, NOW_MS).level).toBe('ok');
  });

  test('says what it is bound to', () => {
    const bound = { ...claims, name: 'web-1', tags: { 'kuma.io/service': ['a', 'b'] }, workload: 'w' };
    expect(judgeToken({ ...token({}), claims: bound }, USER, NOW_MS).says).toBe(
      'bound to mesh default, name web-1, kuma.io/service=a|b, workload w, valid until 2026-01-31T00:00:00.000Z',
    );
    expect(judgeToken(token({ mesh: '' }), USER, NOW_MS).says).toMatch(/^bound to nothing/);
  });
});

function overview(change: { readonly address?: string; readonly online?: boolean }): DataplaneOverview {
  const { address = '10.0.0.1', online = true } = change;
  const read = readOverview({
    name: 'web-1',
    mesh: 'default',
    dataplane: { networking: { address } },
    dataplaneInsight: {
      subscriptions: [{ id: '1', connectTime: 'then', ...(online ? {} : { disconnectTime: 'later' }) }],
    },
  });
  if (read === undefined) throw new Error('not an overview');
  return read;
}

describe('judgeObject()', () => {
  const given: ObjectGiven = {
    key: KEY,
    owner: 'cp',
    address: '10.0.0.1',
    incarnation: undefined,
    running: true,
    overview: overview({}),
  };
  test.for<[string, Partial<ObjectGiven>, Finding['level']]>([
    ['there, connected, run here', {}, 'ok'],
    ['connected, but not run here', { running: false }, 'warning'],
    ['not connected, not run here', { running: false, overview: overview({ online: false }) }, 'ok'],
    ['at another address', { overview: overview({ address: '10.0.0.2' }) }, 'failure'],
    ['at an unknown address', { address: undefined, overview: overview({ address: '10.0.0.2' }) }, 'ok'],
    ['missing although it runs', { overview: undefined }, 'failure'],
    ['missing before its start', { overview: undefined, running: false }, 'ok'],
    [
      'missing, and the operator should have put it',
      { overview: undefined, running: false, owner: 'external' },
      'failure',
    ],
  ])('%s', ([, change, level]) => {
    expect(judgeObject({ ...given, ...change }).level).toBe(level);
  });
});

describe('judgeEndpoints()', () => {
  const facts = { ...DEFAULT_FACTS, mode: 'zone', version: '2.14.3' };
  const fine = { url: 'https://a', seen: { facts, isLastOfService: false } };
  const away = { url: 'https://b', seen: { problem: 'refused', code: 'ENDPOINT_UNREACHABLE' } } as const;
  test.for<[string, Parameters<typeof judgeEndpoints>[0], readonly Finding['level'][]]>([
    ['none', [], ['failure']],
    ['one that answers', [fine], ['ok']],
    ['one that does not', [away], ['failure']],
    ['one of two', [away, fine], ['warning', 'ok']],
  ])('%s', ([, looks, levels]) => {
    expect(judgeEndpoints(looks).map(({ level }) => level)).toEqual(levels);
  });

  test('has a remedy for what is wrong with TLS', () => {
    const seen = { problem: 'self-signed', code: 'ENDPOINT_UNTRUSTED' } as const;
    expect(judgeEndpoints([{ url: 'https://a', seen }])[0]?.remedy).toContain('--ca-file');
  });
});
