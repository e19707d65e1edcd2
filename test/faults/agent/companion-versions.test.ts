import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { companionEndpoint } from '../../../agent/companion/companion-endpoint.io.ts';
import { dataplaneToken } from '../../../agent/identity/dataplane-token.io.ts';
import type { Departure } from '../../../agent/ports.ts';
import { readyAs, type Made, type Want, type Wish } from '../../../kuma/object-wish.ts';
import { Rotation_Turn, type RegisterRequest } from '../../../proto/gen/deregistrar/v1/deregistrar.ts';
import { FakeCompanion } from '../../support/fake-companion.ts';

const DEPARTURE: Departure = {
  key: { proxyType: 'dataplane', mesh: 'default', name: 'web-1' },
  own: { incarnation: 'run-1', address: '10.0.0.1' },
};
const RESOURCE = { type: 'Dataplane', mesh: 'default', name: 'web-1' };
const CLEAR = { ca: undefined, clientCertificate: undefined, clientKey: undefined, skipVerify: false };

describe('an agent at a companion of 0.1.0, which does not know the field "wish"', () => {
  let open: AsyncDisposableStack;

  beforeEach(() => {
    open = new AsyncDisposableStack();
  });

  afterEach(() => open.disposeAsync());

  async function companion(replies: Parameters<typeof FakeCompanion.start>[0] = {}): Promise<FakeCompanion> {
    return open.use(await FakeCompanion.start(replies));
  }

  function make(of: FakeCompanion, want: Want): Promise<Made> {
    const token = dataplaneToken({ inline: 'a-token.of-three.parts', file: undefined });
    const endpoint = companionEndpoint({ url: new URL(of.url), tls: CLEAR, token });
    open.defer(() => {
      endpoint.close();
    });
    const { signal } = new AbortController();
    return endpoint.make(DEPARTURE, want, { signal, budgetMs: 1_500, send: () => signal });
  }

  const states = { ':80': 'Ready' };
  const IN = { state: 'ready', states, leaveProbed: false } as const;

  test.for<readonly [name: string, Wish, template: typeof RESOURCE | undefined, Rotation_Turn | undefined]>([
    ['a start', { state: 'hidden', takeOver: true }, RESOURCE, undefined],
    ['a look before Envoy serves', { state: 'hidden', takeOver: false }, RESOURCE, Rotation_Turn.LOOK],
    ['an owner whose Envoy serves', readyAs(RESOURCE), RESOURCE, undefined],
    ['a look before a drain', { state: 'out', states: {} }, undefined, Rotation_Turn.LOOK],
    ['a drain', { state: 'out', states }, undefined, Rotation_Turn.OUT],
    ['a look for what a companion sidelined', { state: 'unmarked' }, undefined, Rotation_Turn.LOOK],
    ['a resume', IN, undefined, Rotation_Turn.IN],
    ['a resume of an owner', IN, RESOURCE, Rotation_Turn.IN],
  ])(
    'the agent sends %s in older fields, and the companion does the same',
    async ([, wish, template, turn]) => {
      const fake = await companion();
      await make(fake, { wish, template });
      const [call] = fake.seen('register');
      expect((call?.request as RegisterRequest | undefined)?.rotation?.turn).toBe(turn);
    },
  );

  test('the agent puts an object that it had only looked for by a second call', async () => {
    const answers = [{ found: false }, {}];
    const fake = await companion({ replies: { register: () => answers.shift() } });
    const want = { wish: { state: 'hidden', takeOver: false }, template: RESOURCE } as const;
    const made = await make(fake, want);
    expect(made).toEqual({ found: false, changed: true, states: {} });
    expect(fake.seen('register').map(({ request }) => (request as RegisterRequest).rotation?.turn)).toEqual([
      Rotation_Turn.LOOK,
      undefined,
    ]);
  });
});
