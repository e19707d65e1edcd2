import { statSync } from 'node:fs';

import { credentials, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { AdminClient } from '../../../proto/gen/deregistrar/v1/admin.ts';
import { CompanionWorld } from '../../support/companion-world.ts';

/**
 * The claims of docs/security/threat-model.md about a caller with network access only. `tokens.test.ts` shows that a
 * wrong token changes nothing.
 */
describe('a caller without a token', () => {
  let world: CompanionWorld;

  beforeAll(async () => {
    world = await CompanionWorld.start({
      controlPlane: { localhostIsAdmin: true },
      companion: { authn: 'token' },
    });
  });

  afterAll(() => world[Symbol.asyncDispose]());

  test('does not learn the control plane either', async () => {
    world.put('web-1');
    using stranger = world.agent('web-1');
    await expect(stranger.getControlPlane()).rejects.toThrow(/^UNAUTHENTICATED: /);
  });

  test('finds no operators’ service on the agents’ port', async () => {
    const client = new AdminClient(world.companion.address, credentials.createInsecure());
    try {
      const code = await new Promise((resolve) => {
        client.getStatus({ mesh: '' }, (error) => {
          resolve(error?.code);
        });
      });
      expect(code).toBe(status.UNIMPLEMENTED);
    } finally {
      client.close();
    }
  });

  test('finds the operators’ socket closed to other users', () => {
    expect(statSync(world.companion.adminSocket).mode & 0o777).toBe(0o600);
  });
});
