import { describe, expect, test } from 'vitest';

import { isAfter, isOnline, keyOf, readOverview } from '../../../kuma/overview.ts';
import { RECORDED_VERSIONS, recordedAnswer } from '../../support/kuma/recorded.ts';

describe.for(RECORDED_VERSIONS)('readOverview() of %s', (version) => {
  test.for([
    { name: 'overview-online', online: [true] },
    { name: 'overview-draining', online: [true] },
    { name: 'overview-offline', online: [false] },
    { name: 'overview-after-undo', online: [] },
  ])('$name: subscriptions online $online', ({ name, online }) => {
    const { body } = recordedAnswer(version, name);
    const overview = readOverview(body);
    expect(overview?.subscriptions.map(isOnline)).toEqual(online);
    const { labels, creationTime, dataplane } = body as Record<string, unknown>;
    expect(overview).toMatchObject({ labels, creationTime, ...(dataplane as object) });
  });

  test('its resource is what a PUT takes: the spec, the labels, and which one it is', () => {
    const { body } = recordedAnswer(version, 'overview-online');
    const { mesh, name, labels, dataplane } = body as Record<string, unknown>;
    expect(readOverview(body)?.resource).toEqual({
      ...(dataplane as object),
      type: 'Dataplane',
      mesh,
      name,
      ...(labels === undefined ? {} : { labels }),
    });
  });

  test('says which dataplane it is of', () => {
    const overview = readOverview(recordedAnswer(version, 'overview-online').body);
    expect(overview === undefined ? undefined : keyOf(overview)).toEqual({
      proxyType: 'dataplane',
      mesh: 'default',
      name: 'b1',
    });
  });

  test('metadata says from 2.11 on that the control plane manages the object', () => {
    const overview = readOverview(recordedAnswer(version, 'overview-online').body);
    expect('dataplane.resource' in (overview?.metadata ?? {})).toBe(version !== '2.10.1');
  });
});

describe('readOverview()', () => {
  test('an object without an insight has nothing', () => {
    expect(readOverview({ name: 'web-1' })).toEqual({
      mesh: '',
      name: 'web-1',
      resource: { type: 'Dataplane', name: 'web-1' },
      creationTime: undefined,
      modificationTime: undefined,
      labels: {},
      networking: undefined,
      subscriptions: [],
      metadata: {},
    });
  });

  test.for<{ readonly name: string; readonly body: unknown }>([
    { name: 'nothing', body: undefined },
    { name: 'HTML', body: '<html></html>' },
    { name: 'a list', body: { total: 0, items: [] } },
    { name: 'a subscription without an id', body: { name: 'a', dataplaneInsight: { subscriptions: [{}] } } },
    { name: 'a label that is a number', body: { name: 'a', labels: { a: 1 } } },
  ])('does not take $name for an overview', ({ body }) => {
    expect(readOverview(body)).toBeUndefined();
  });
});

describe('isOnline()', () => {
  test.for([
    { subscription: { id: 's' }, online: false },
    { subscription: { id: 's', connectTime: '2026-01-01T00:00:00Z' }, online: true },
    { subscription: { id: 's', disconnectTime: '2026-01-01T00:00:00Z' }, online: false },
    {
      subscription: { id: 's', connectTime: '2026-01-01T00:00:00Z', disconnectTime: '2026-01-01T00:00:01Z' },
      online: false,
    },
  ])('$subscription: $online', ({ subscription, online }) => {
    expect(isOnline(subscription)).toBe(online);
  });
});

describe('isAfter()', () => {
  test.for([
    { a: '2026-11-23T09:53:56.463Z', b: '2026-11-23T09:53:56.462426272Z', after: true },
    { a: '2026-11-23T09:53:56.462Z', b: '2026-11-23T09:53:56.462426272Z', after: false },
    { a: '2026-11-23T10:53:56Z', b: '2026-11-23T09:53:57+00:00', after: true },
    { a: '2026-11-23T10:53:56+02:00', b: '2026-11-23T09:53:56Z', after: false },
  ])('$a after $b: $after', ({ a, b, after }) => {
    expect(isAfter(a, b)).toBe(after);
  });
});
