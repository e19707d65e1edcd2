import { randomBytes } from 'node:crypto';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { agentEvents } from '../../../agent/events.ts';
import { Endpoints } from '../../../agent/object/endpoints.ts';
import { ObjectKeeper } from '../../../agent/object/keeper.ts';
import { kumaRestEndpoint } from '../../../agent/object/kuma-rest-endpoint.io.ts';
import { systemClock } from '../../../kernel/clock.ts';
import { RestClient } from '../../../kuma/rest-client.io.ts';
import { FakeLog } from '../../support/fake-log.ts';
import { ControlPlane } from '../../support/kuma/control-plane.ts';
import { timestampNow } from '../../support/kuma/timestamp.ts';
import { FAULTS } from './fault-kinds.ts';

let controlPlane: ControlPlane;

beforeAll(async () => {
  controlPlane = await ControlPlane.start();
});

afterAll(async () => {
  await controlPlane[Symbol.asyncDispose]();
});

const ADDRESS = '10.0.0.1';
const BUDGET_MS = 1_500;

/** The keeper of one object that is there, on a real connection; no agent and no kuma-dp. */
function keep(name: string): ObjectKeeper {
  const now = timestampNow(6);
  controlPlane.store.save({
    type: 'Dataplane',
    mesh: 'default',
    name,
    creationTime: now,
    modificationTime: now,
    labels: {},
    spec: { networking: { address: ADDRESS } },
  });
  const shared = { clock: systemClock, events: agentEvents(new FakeLog()), random: Math.random };
  const key = { proxyType: 'dataplane', mesh: 'default', name } as const;
  const endpoint = kumaRestEndpoint({
    url: new URL(controlPlane.httpUrl),
    tls: { ca: undefined, clientCertificate: undefined, clientKey: undefined, skipVerify: false },
    userToken: { current: undefined, refresh: () => Promise.resolve() },
  });
  return new ObjectKeeper({
    ...shared,
    endpoints: new Endpoints({ ...shared, endpoints: [endpoint], key, settle: 0 }),
    departure: { key, own: { incarnation: 'run-1', address: ADDRESS } },
    template: undefined,
    mayDelete: true,
  });
}

describe.concurrent('an endpoint that answers wrongly', () => {
  test.for(FAULTS)(
    '$name: the deregistration fails, retried: $retried, and nothing is deleted',
    async ({ action, retried }) => {
      const name = `web-${randomBytes(4).toString('hex')}`;
      const path = `/dataplanes/${name}(/|\\?|$)`;
      const keeper = keep(name);
      controlPlane.faults.add({ path, action });
      const { outcome, attempts } = await keeper.deregister(systemClock.monotonicMs() + BUDGET_MS);
      keeper.close();
      expect(outcome).toBe('failed');
      expect(attempts > 1).toBe(retried);
      expect(controlPlane.journal.matching('DELETE', new RegExp(path))).toEqual([]);
      expect(controlPlane.store.find({ type: 'Dataplane', mesh: 'default', name })).toBeDefined();
    },
  );
});

test.for([false, true])('an answer without an end is abandoned, lean: %s', async (lean) => {
  const client = new RestClient({
    url: new URL(controlPlane.httpUrl),
    tls: { ca: undefined, clientCertificate: undefined, clientKey: undefined, skipVerify: false },
    userToken: () => undefined,
    lean,
  });
  const path = `endless-${randomBytes(4).toString('hex')}`;
  controlPlane.faults.add({ path, action: { kind: 'endless' } });
  await expect(client.get(path, AbortSignal.timeout(30_000))).rejects.toMatchObject({
    code: 'ANSWER_UNREADABLE',
    message: 'Cannot read the answer: it is longer than 64 MiB',
  });
  client.close();
});
