import { expect, test } from 'vitest';

import { FakeWitnessZone } from '../../../support/fakes/witness-scene.ts';

/** Whether a loss of `web-1` would be noticed at once, once it was looked for witnesses. */
function problemOf(scene: FakeWitnessZone): string | undefined {
  const [companion] = scene.companions;
  return companion?.engine.witnesses.search.watchfulness('default/web-1')?.problem;
}

interface Case {
  readonly what: string;
  readonly make: (scene: FakeWitnessZone) => Promise<void>;
  readonly problem: RegExp;
}

const LOAD_BALANCER = '10.9.9.9';

test.for<Case>([
  {
    what: 'two others reach it',
    make: async (scene) => {
      for (const name of ['web-1', 'web-2', 'web-3']) await scene.serve(name);
    },
    problem: /^$/,
  },
  {
    what: 'one other and the companion reach it',
    make: async (scene) => {
      for (const name of ['web-1', 'web-2']) await scene.serve(name);
    },
    problem: /^$/,
  },
  {
    what: 'a firewall keeps all witnesses out',
    make: async (scene) => {
      const host = await scene.serve('web-1');
      host.found = 'silent';
      for (const name of ['web-2', 'web-3']) await scene.serve(name);
    },
    problem: /^no two witnesses have reached 10\.0\.0\.1:8080 from another address: a firewall/,
  },
  {
    what: 'streams come through a load balancer',
    make: async (scene) => {
      for (const name of ['web-1', 'web-2', 'web-3']) await scene.serve(name, { peer: LOAD_BALANCER });
    },
    problem: /its stream comes from 10\.9\.9\.9, and its ports are at 10\.0\.0\.1:8080.*--witness-networks/,
  },
  {
    what: 'it is alone, and the companion does not reach it',
    make: async (scene) => {
      const host = await scene.serve('web-1');
      host.found = 'silent';
    },
    problem: /no other agent of the mesh is a witness/,
  },
  {
    what: 'the agents of its peers do not look',
    make: async (scene) => {
      const host = await scene.serve('web-1');
      host.found = 'silent';
      for (const name of ['web-2', 'web-3']) await scene.serve(name, { looks: false });
    },
    problem: /no other agent of the mesh is a witness/,
  },
])(
  'it is said of each dataplane whether its loss would be noticed at once: $what',
  async ({ make, problem }) => {
    await using scene = new FakeWitnessZone();
    scene.companion();
    await make(scene);
    await scene.meet();
    expect(problemOf(scene)).toMatch(problem);
    const status = await scene.companions[0]?.status();
    expect(status?.unwatched.some(({ dataplane }) => dataplane?.name === 'web-1')).toBe(
      problemOf(scene) !== '',
    );
  },
);
