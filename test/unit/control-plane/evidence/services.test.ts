import { describe, expect, test } from 'vitest';

import { readinessByService, type Serving } from '../../../../control-plane/evidence/services.pure.ts';
import { readOverview } from '../../../../kuma/overview.ts';
import { RECORDED_VERSIONS, recordedAnswer } from '../../../support/kuma/recorded.ts';
import { inbound } from './cases.ts';

const NOT_READY = { state: 'NotReady' };
const UNHEALTHY = { state: 'Ready', health: { ready: false } };

interface Row {
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly networking?: object;
  readonly services: Readonly<Record<string, boolean>>;
}

describe('readinessByService()', () => {
  test.for<Row>([
    { name: 'nothing', services: {} },
    { name: 'no inbound, though a label', labels: { app: 'web' }, networking: {}, services: {} },
    { name: 'a tag', networking: { inbound: [inbound('web')] }, services: { web: true } },
    { name: 'not ready', networking: { inbound: [inbound('web', NOT_READY)] }, services: { web: false } },
    { name: 'not healthy', networking: { inbound: [inbound('web', UNHEALTHY)] }, services: { web: false } },
    {
      name: 'healthy',
      networking: { inbound: [inbound('web', { health: { ready: true } })] },
      services: { web: true },
    },
    {
      name: 'one of two ports is enough',
      networking: { inbound: [inbound('web'), inbound('web', NOT_READY)] },
      services: { web: true },
    },
    {
      name: 'two services, one of them ready',
      networking: { inbound: [inbound('web', NOT_READY), inbound('admin')] },
      services: { web: false, admin: true },
    },
    {
      name: 'a delegated gateway',
      networking: { gateway: { type: 'DELEGATED', tags: { 'kuma.io/service': 'edge' } } },
      services: { edge: true },
    },
    {
      name: 'a tag goes before labels',
      labels: { 'kuma.io/workload': 'w', app: 'a' },
      networking: { inbound: [inbound('web'), inbound(undefined)] },
      services: { web: true },
    },
    {
      name: 'without tags, the workload',
      labels: { 'kuma.io/workload': 'w', app: 'a' },
      networking: { inbound: [inbound(undefined)] },
      services: { w: true },
    },
    {
      name: 'without a workload, the application',
      labels: { app: 'a' },
      networking: { inbound: [inbound(undefined, NOT_READY)] },
      services: { a: false },
    },
    {
      name: 'a zone proxy of Kuma 3',
      labels: { 'kuma.io/workload': 'egress' },
      networking: { listeners: [{ port: 1, state: 'NotReady' }, { port: 2 }] },
      services: { egress: true },
    },
    {
      name: 'a gateway without tags',
      labels: { app: 'edge' },
      networking: { gateway: {} },
      services: { edge: true },
    },
    { name: 'neither tags nor labels', networking: { inbound: [inbound(undefined)] }, services: {} },
    {
      name: 'a tag that is not a string',
      networking: { inbound: [{ tags: { 'kuma.io/service': 7 } }] },
      services: {},
    },
  ])('$name', ({ labels, networking, services }) => {
    const serving = { labels, networking } as Serving;
    expect(Object.fromEntries(readinessByService(serving))).toEqual(services);
  });

  test.for(RECORDED_VERSIONS)('what %s recorded is a backend that is ready', (version) => {
    const overview = readOverview(recordedAnswer(version, 'overview-online').body);
    expect([...readinessByService(overview ?? {})]).toEqual([['backend', true]]);
  });

  test('the same object is read once', () => {
    const serving: Serving = { networking: { inbound: [] } };
    expect(readinessByService(serving)).toBe(readinessByService(serving));
  });
});
