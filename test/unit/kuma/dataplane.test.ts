import { describe, expect, test } from 'vitest';

import {
  DataplaneResource,
  describeKey,
  resourcePath,
  type DataplaneKey,
  storedResource,
} from '../../../kuma/dataplane.ts';
import { RECORDED_VERSIONS, recordedAnswer } from '../../support/kuma/recorded.ts';

describe('resourcePath()', () => {
  test.for<{ readonly key: DataplaneKey; readonly path: string; readonly name: string }>([
    {
      key: { proxyType: 'dataplane', mesh: 'default', name: 'web-1' },
      path: 'meshes/default/dataplanes/web-1',
      name: 'default/web-1',
    },
    {
      key: { proxyType: 'dataplane', mesh: 'default', name: 'web_1' },
      path: 'meshes/default/dataplanes/web_1',
      name: 'default/web_1',
    },
    {
      key: { proxyType: 'dataplane', mesh: 'a b', name: '../mesh' },
      path: 'meshes/a%20b/dataplanes/..%2Fmesh',
      name: 'a b/../mesh',
    },
    {
      key: { proxyType: 'dataplane', mesh: 'm', name: 'a?b#c%d' },
      path: 'meshes/m/dataplanes/a%3Fb%23c%25d',
      name: 'm/a?b#c%d',
    },
    {
      key: { proxyType: 'dataplane', mesh: 'm', name: 'web.ns' },
      path: 'meshes/m/dataplanes/web.ns',
      name: 'm/web.ns',
    },
    {
      key: { proxyType: 'ingress', mesh: '', name: 'zi-1' },
      path: 'zone-ingresses/zi-1',
      name: 'ingress zi-1',
    },
    {
      key: { proxyType: 'egress', mesh: '', name: 'ze/1' },
      path: 'zoneegresses/ze%2F1',
      name: 'egress ze/1',
    },
  ])('$name is at $path', ({ key, path, name }) => {
    expect(resourcePath(key)).toBe(path);
    expect(describeKey(key)).toBe(name);
  });
});

describe('DataplaneResource', () => {
  test.for(RECORDED_VERSIONS)('reads the dataplane of %s and loses nothing of it', (version) => {
    const { body } = recordedAnswer(version, 'dataplane');
    expect(DataplaneResource.parse(body)).toEqual(body);
  });

  test.for<{ readonly name: string; readonly body: unknown }>([
    { name: 'nothing', body: undefined },
    { name: 'an object without a name', body: { type: 'Dataplane' } },
    { name: 'a name that is a number', body: { type: 'Dataplane', name: 1 } },
    {
      name: 'a port that is a text',
      body: { type: 'Dataplane', name: 'a', networking: { inbound: [{ port: '80' }] } },
    },
    {
      name: 'inbounds that are no list',
      body: { type: 'Dataplane', name: 'a', networking: { inbound: {} } },
    },
  ])('does not take $name', ({ body }) => {
    expect(DataplaneResource.safeParse(body).success).toBe(false);
  });
});

test.for([
  ['{"type":"Dataplane","name":"web-1","extra":1}', { type: 'Dataplane', name: 'web-1', extra: 1 }],
  ['{"name":1}', undefined],
  ['', undefined],
  ['{', undefined],
  [undefined, undefined],
] as const)('a stored resource %j is read as %j', ([text, resource]) => {
  expect(storedResource(text)).toEqual(resource);
});
