import { describe, expect, test } from 'vitest';

import type { DataplaneKey, DataplaneResource } from '../../../kuma/dataplane.ts';
import type { TokenBinding } from '../../../kuma/dataplane-token.ts';
import { permits } from '../../../kuma/token-rules.ts';
import { RECORDED_VERSIONS, recordedAnswer } from '../../support/kuma/recorded.ts';

const KEY: DataplaneKey = { proxyType: 'dataplane', mesh: 'default', name: 'web-1' };
const UNBOUND: TokenBinding = { name: '', mesh: '', tags: {}, workload: '' };

const tagged = (...inbound: readonly Readonly<Record<string, string>>[]): DataplaneResource => ({
  type: 'Dataplane',
  mesh: 'default',
  name: 'web-1',
  networking: { inbound: inbound.map((tags, at) => ({ port: 8080 + at, tags })) },
});
const gateway = (tags: Readonly<Record<string, string>>): DataplaneResource => ({
  type: 'Dataplane',
  mesh: 'default',
  name: 'web-1',
  networking: { gateway: { tags } },
});
const labelled = (labels: Readonly<Record<string, string>>): DataplaneResource => ({
  ...tagged({ 'kuma.io/service': 'web' }),
  labels,
});
const allowed = { allowed: true } as const;
const refused = (reason: string): { readonly allowed: false; readonly reason: string } => ({
  allowed: false,
  reason,
});

interface Row {
  readonly name: string;
  readonly token?: Partial<TokenBinding>;
  readonly key?: DataplaneKey;
  readonly stored?: DataplaneResource;
  readonly brought?: DataplaneResource;
  readonly versions?: readonly (string | undefined)[];
  readonly permission: ReturnType<typeof permits>;
}

const EVERY_LINE = ['2.7.11', '2.10.1', '2.13.0', '2.14.3', '3.0.0', '3.0.0-preview', '0.0.0-preview.v1'];
const TAG_LINES = ['2.7.11', '2.10.1', 'v2.14.3'];
const LABEL_LINES = ['3.0.0', '3.1.2', '0.0.0-preview.vabc'];

const NAMES: readonly Row[] = [
  { name: 'a token that is bound to nothing', permission: allowed },
  { name: 'a token of this name', token: { name: 'web-1' }, permission: allowed },
  { name: 'a token of this name and mesh', token: { name: 'web-1', mesh: 'default' }, permission: allowed },
  {
    name: 'a token of another name',
    token: { name: 'web-2' },
    permission: refused('the token is for name "web-2", not "web-1"'),
  },
  {
    name: 'a name is compared as it is',
    token: { name: 'WEB-1' },
    permission: refused('the token is for name "WEB-1", not "web-1"'),
  },
  {
    name: 'a token of another mesh',
    token: { name: 'web-1', mesh: 'other' },
    permission: refused('the token is for mesh "other", not "default"'),
  },
  {
    name: 'another name, though what stands and what is brought have the tags of the token',
    token: { name: 'web-2', tags: { 'kuma.io/service': ['web'] } },
    stored: tagged({ 'kuma.io/service': 'web' }),
    brought: tagged({ 'kuma.io/service': 'web' }),
    permission: refused('the token is for name "web-2", not "web-1"'),
  },
  {
    name: 'a zone proxy',
    key: { proxyType: 'ingress', mesh: '', name: 'zi-1' },
    permission: refused('a dataplane token is not for ingress zi-1'),
  },
  {
    name: 'a resource of another name is brought',
    brought: { ...tagged(), name: 'web-2' },
    permission: refused('the resource that it brings is not that of default/web-1'),
  },
  {
    name: 'a resource of another mesh is brought',
    brought: { ...tagged(), mesh: 'other' },
    permission: refused('the resource that it brings is not that of default/web-1'),
  },
  {
    name: 'a resource of another type is brought',
    brought: { ...tagged(), type: 'MeshGateway' },
    permission: refused('the resource that it brings is not that of default/web-1'),
  },
  {
    name: 'a resource that leaves its mesh to the path is brought',
    brought: { type: 'Dataplane', name: 'web-1' },
    permission: allowed,
  },
];

const WEB = { tags: { 'kuma.io/service': ['web'] } };
const NO_SERVICE = refused('the dataplane has no tag "kuma.io/service", which the token is bound to');
const API = refused('the dataplane has kuma.io/service="api", which the token does not allow');

const TAGS: readonly Row[] = [
  { name: 'the tag of its inbound', stored: tagged({ 'kuma.io/service': 'web' }), permission: allowed },
  {
    name: 'the tag of its gateway',
    stored: gateway({ 'kuma.io/service': 'web' }),
    permission: allowed,
  },
  {
    name: 'a gateway of another service',
    stored: gateway({ 'kuma.io/service': 'api' }),
    permission: API,
  },
  { name: 'another value', stored: tagged({ 'kuma.io/service': 'api' }), permission: API },
  {
    name: 'a second inbound whose value is not allowed',
    stored: tagged({ 'kuma.io/service': 'web' }, { 'kuma.io/service': 'api' }),
    permission: API,
  },
  {
    name: 'two inbounds, both allowed',
    token: { tags: { 'kuma.io/service': ['web', 'api'] } },
    stored: tagged({ 'kuma.io/service': 'web' }, { 'kuma.io/service': 'api' }),
    permission: allowed,
  },
  {
    name: 'more values allowed than it has',
    token: { tags: { 'kuma.io/service': ['web', 'api'] } },
    stored: tagged({ 'kuma.io/service': 'web' }),
    permission: allowed,
  },
  {
    name: 'a tag that only one of its inbounds has',
    stored: tagged({ 'kuma.io/service': 'web' }, { version: '1' }),
    permission: allowed,
  },
  {
    name: 'one of two tags is missing',
    token: { tags: { 'kuma.io/service': ['web'], version: ['1'] } },
    stored: tagged({ 'kuma.io/service': 'web' }),
    permission: refused('the dataplane has no tag "version", which the token is bound to'),
  },
  { name: 'no inbound at all', stored: tagged(), permission: NO_SERVICE },
  {
    name: 'no networking at all',
    stored: { type: 'Dataplane', name: 'web-1' },
    permission: NO_SERVICE,
  },
  {
    name: 'a label of that name is no tag',
    stored: { ...tagged(), labels: { 'kuma.io/service': 'web' } },
    permission: NO_SERVICE,
  },
  {
    name: 'a tag for which no value is allowed',
    token: { tags: { 'kuma.io/service': [] } },
    stored: tagged({ 'kuma.io/service': 'web' }),
    permission: refused('the dataplane has kuma.io/service="web", which the token does not allow'),
  },
  {
    name: 'a tag named as something that every object has',
    token: { tags: { constructor: ['web'] } },
    stored: tagged({ 'kuma.io/service': 'web' }),
    permission: refused('the dataplane has no tag "constructor", which the token is bound to'),
  },
  {
    name: 'tags that are none',
    stored: { type: 'Dataplane', name: 'web-1', networking: { inbound: [{ port: 1, tags: 'web' }] } },
    permission: refused('the tags of the dataplane cannot be read'),
  },
  {
    name: 'nothing stands, nothing is brought',
    permission: refused(
      'the token is bound to tags or a workload, and there is no Dataplane object to compare them with',
    ),
  },
  {
    name: 'nothing stands, what is brought fits',
    brought: tagged({ 'kuma.io/service': 'web' }),
    permission: allowed,
  },
  {
    name: 'nothing stands, what is brought is another',
    brought: tagged({ 'kuma.io/service': 'api' }),
    permission: API,
  },
  {
    name: 'what is brought fits, but what stands is of another service',
    stored: tagged({ 'kuma.io/service': 'api' }),
    brought: tagged({ 'kuma.io/service': 'web' }),
    permission: API,
  },
  {
    name: 'what stands fits, but what is brought is of another service',
    stored: tagged({ 'kuma.io/service': 'web' }),
    brought: tagged({ 'kuma.io/service': 'api' }),
    permission: API,
  },
].map((row) => ({ token: WEB, versions: TAG_LINES, ...row }));

const LABELS: readonly Row[] = [
  {
    name: 'the label has an allowed value',
    stored: labelled({ app: 'web' }),
    permission: allowed,
  },
  {
    name: 'the label has another value',
    stored: labelled({ app: 'api' }),
    permission: refused('the dataplane has app="api", which the token does not allow'),
  },
  {
    name: 'there is no such label, though an inbound has such a tag',
    stored: tagged({ app: 'web' }),
    permission: refused('the dataplane has no tag "app", which the token is bound to'),
  },
].map((row) => ({ token: { tags: { app: ['web'] } }, versions: LABEL_LINES, ...row }));

const OTHER_WORKLOAD = refused('the dataplane is of workload "api", the token of "web"');
const WORKLOADS: readonly Row[] = [
  ...[
    { name: 'its workload', stored: labelled({ 'kuma.io/workload': 'web' }), permission: allowed },
    { name: 'another workload', stored: labelled({ 'kuma.io/workload': 'api' }), permission: OTHER_WORKLOAD },
    {
      name: 'no workload',
      stored: tagged(),
      permission: refused('the dataplane is of workload "", the token of "web"'),
    },
    {
      name: 'a workload, and neither stored nor brought',
      permission: refused(
        'the token is bound to tags or a workload, and there is no Dataplane object to compare them with',
      ),
    },
    {
      name: 'another workload is brought',
      stored: labelled({ 'kuma.io/workload': 'web' }),
      brought: labelled({ 'kuma.io/workload': 'api' }),
      permission: OTHER_WORKLOAD,
    },
  ].map((row) => ({
    token: { workload: 'web' },
    versions: ['2.13.0', '2.14.3', '3.0.0', '0.0.0-preview.v1'],
    ...row,
  })),
  {
    name: 'a workload means nothing before 2.13',
    token: { workload: 'web' },
    stored: labelled({ 'kuma.io/workload': 'api' }),
    versions: ['2.7.11', '2.10.1', '2.12.14'],
    permission: allowed,
  },
  {
    name: 'a workload means nothing before 2.13, with no dataplane either',
    token: { workload: 'web' },
    versions: ['2.12.14'],
    permission: allowed,
  },
  {
    name: 'a token without a workload is good for a dataplane that has one',
    token: { name: 'web-1' },
    stored: labelled({ 'kuma.io/workload': 'api' }),
    permission: allowed,
  },
  ...[WEB, { workload: 'web' }].map((token) => ({
    name: `a control plane of unknown version, token ${JSON.stringify(token)}`,
    token,
    stored: { ...tagged({ 'kuma.io/service': 'web' }), labels: { 'kuma.io/workload': 'web' } },
    versions: [undefined, 'unknown'],
    permission: refused(
      'the token is bound to tags or a workload, and the version of the control plane is not known',
    ),
  })),
  {
    name: 'a control plane of unknown version, token of this name',
    token: { name: 'web-1', mesh: 'default' },
    versions: [undefined, 'unknown'],
    permission: allowed,
  },
];

describe('permits()', () => {
  const rows: readonly Row[] = [...NAMES, ...TAGS, ...LABELS, ...WORKLOADS];
  test.for(rows.flatMap((row) => (row.versions ?? EVERY_LINE).map((version) => ({ ...row, version }))))(
    'Kuma $version: $name',
    ({ token, key = KEY, stored, brought, version, permission }) => {
      expect(permits({ ...UNBOUND, ...token }, { key, stored, brought, version })).toEqual(permission);
    },
  );

  test.for(RECORDED_VERSIONS)('an object as Kuma %s stores it', (version) => {
    const stored = recordedAnswer(version, 'dataplane').body as DataplaneResource;
    const key: DataplaneKey = { proxyType: 'dataplane', mesh: 'default', name: stored.name };
    const given = version.startsWith('2.') ? firstTag(stored) : Object.entries(stored.labels ?? {})[0];
    const [tag = '', value = ''] = given ?? [];
    const judge = (values: readonly string[]) =>
      permits({ ...UNBOUND, tags: { [tag]: values } }, { key, stored, version }).allowed;
    expect({ tag: tag !== '', same: judge([value]), other: judge([`${value}-2`]) }).toEqual({
      tag: true,
      same: true,
      other: false,
    });
  });
});

function firstTag({ networking }: DataplaneResource): readonly [string, string] | undefined {
  return Object.entries((networking?.inbound?.[0]?.['tags'] ?? {}) as Record<string, string>)[0];
}
