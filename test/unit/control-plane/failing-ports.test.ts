import { describe, expect, test } from 'vitest';

import { DEFAULT_BRAKE } from '../../../control-plane/evidence/brake.pure.ts';
import { OperationalError } from '../../../kernel/errors.ts';
import { CompanionScene, incarnationOf } from '../../support/fakes/companion-scene.ts';
import { failable } from '../../support/fakes/failable.ts';
import { FakeControlPlanes } from '../../support/fakes/fake-control-planes.ts';
import { MemoryStore } from '../../support/fakes/memory-store.ts';

const STORE_METHODS = methodsOf(MemoryStore).filter((name) => name !== 'close');
const PLANE_METHODS = methodsOf(FakeControlPlanes).filter((name) => name !== 'close');

/** What a port throws: an error of each kind, and a bug. */
const FAILURES = {
  'another caller has the lock': () => new OperationalError('STORE_BUSY', 'Cannot lock a dataplane'),
  'it is away': () => new OperationalError('STORE_UNAVAILABLE', 'Cannot use the store'),
  'the lock has ended': () => new OperationalError('FENCE_LOST', 'Cancelled'),
  'it answers with an error': () => new OperationalError('ENDPOINT_BUSY', 'Cannot GET'),
  'a bug': () => new TypeError('undefined is not a function'),
};

describe.for(Object.entries(FAILURES))('for a minute, one method fails: %s', ([, failure]) => {
  test.for([...STORE_METHODS, ...PLANE_METHODS])(
    '%s, and every part of the companion runs on',
    async (method) => {
      await using scene = new CompanionScene('postgres', { brake: { ...DEFAULT_BRAKE, share: 1 } });
      let failing: string | undefined;
      const failureOf = (called: string): Error | undefined => (called === failing ? failure() : undefined);
      const companion = scene.companion({
        store: (port) => failable(port, failureOf),
        controlPlanes: (port) => failable(port, failureOf),
      });
      await scene.clock.pass(60_000);
      await scene.serve(companion, 'bystander');
      const web = await scene.serve(companion, 'web-1');
      const leaving = await scene.serve(companion, 'leaving');

      failing = method;
      await scene.attach(companion, 'newcomer');
      const left = companion
        .deregister({ incarnation: incarnationOf('leaving', 'a') }, 1_000)
        .catch(() => undefined);
      await scene.clock.pass(10_000);
      await left;
      leaving.lose();
      scene.disconnect('leaving');
      await scene.clock.pass(50_000);
      failing = undefined;
      await scene.clock.pass(60_000);

      web.lose();
      scene.disconnect('web-1');
      await scene.clock.pass(120_000);
      expect([scene.object('web-1'), scene.object('leaving')]).toEqual([undefined, undefined]);
      expect(scene.object('bystander')).toBeDefined();
    },
  );
});

function methodsOf(type: { readonly prototype: object }): readonly string[] {
  return Object.getOwnPropertyNames(type.prototype).filter((name) => name !== 'constructor');
}
