import { describe, expect, test } from 'vitest';

import type { DataplaneResource } from '../../../kuma/dataplane.ts';
import { hasSibling, serviceListPath, servicesOf } from '../../../kuma/services.ts';

function dataplane(name: string, inbound: readonly Readonly<Record<string, unknown>>[]): DataplaneResource {
  return { type: 'Dataplane', mesh: 'default', name, networking: { inbound: [...inbound] } };
}

const BACKEND = { port: 80, tags: { 'kuma.io/service': 'backend' } };

describe('servicesOf()', () => {
  test('names each service of its inbounds once', () => {
    const admin = { port: 81, tags: { 'kuma.io/service': 'admin' } };
    expect(servicesOf(dataplane('b1', [BACKEND, admin, BACKEND]))).toEqual(['backend', 'admin']);
  });

  test.for([
    undefined,
    dataplane('b1', []),
    dataplane('b1', [{ port: 80 }]),
    dataplane('b1', [{ tags: 'x' }]),
  ])('none: %j', (resource) => {
    expect(servicesOf(resource)).toEqual([]);
  });
});

describe('hasSibling()', () => {
  const self = { name: 'b1', service: 'backend' };

  test.for([
    { name: 'only itself', list: { items: [dataplane('b1', [BACKEND])], next: null }, sibling: false },
    { name: 'another', list: { items: [dataplane('b2', [BACKEND])] }, sibling: true },
    {
      name: 'another that is not ready',
      list: { items: [dataplane('b2', [{ ...BACKEND, state: 'NotReady' }])] },
      sibling: false,
    },
    {
      name: 'another service, where the filter is not understood',
      list: { items: [dataplane('c1', [{ port: 80, tags: { 'kuma.io/service': 'client' } }])] },
      sibling: false,
    },
    { name: 'a second page', list: { items: [], next: 'http://cp/meshes?offset=100' }, sibling: true },
    { name: 'none', list: { items: [] }, sibling: false },
    { name: 'no list', list: { title: 'Could not list' }, sibling: undefined },
    { name: 'an item that is no dataplane', list: { items: ['x'] }, sibling: false },
  ])('$name: $sibling', ({ list, sibling }) => {
    expect(hasSibling(list, self)).toBe(sibling);
  });
});

describe('serviceListPath()', () => {
  test('keeps odd names apart from the query', () => {
    expect(serviceListPath('a/b', 'x&y')).toBe(
      'meshes/a%2Fb/dataplanes?tag=kuma.io%2Fservice%3Ax%26y&size=100',
    );
  });
});
