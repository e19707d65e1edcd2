import { describe, expect, test } from 'vitest';

import { Instances } from '../../../../control-plane/evidence/instances.ts';
import { DEFAULT_FACTS } from '../../../../kuma/control-plane.ts';
import type { Subscription } from '../../../../kuma/overview.ts';
import { shown, stream } from './cases.ts';

const URL_A = 'http://a:5681';
const answers = (instanceId: string, url = URL_A) => ({
  url,
  seen: { facts: { ...DEFAULT_FACTS, instanceId } },
});
const silent = (url = URL_A) => ({ url, seen: { problem: 'no answer' } });
const listed = (...subscriptions: Subscription[]) => [shown({ subscriptions })];

function standings(instances: Instances) {
  const { live, ended, doubtful } = instances.view;
  return { live: [...live], ended: [...ended], doubtful: [...doubtful] };
}

describe('instances that answer', () => {
  test('one that another has replaced at its URL has ended, once that one has answered for 10 s', () => {
    const instances = new Instances();
    instances.noteLooks([answers('vm-1')], 0);
    instances.noteLooks([answers('vm-2')], 2_000);
    expect(standings(instances)).toEqual({ live: ['vm-2'], ended: [], doubtful: [] });
    instances.noteLooks([answers('vm-2')], 12_000);
    expect(standings(instances)).toEqual({ live: ['vm-2'], ended: ['vm-1'], doubtful: [] });
  });

  test('one that is replaced from another host may live behind the same address for 5.5 min', () => {
    const instances = new Instances();
    instances.noteLooks([answers('one-1')], 0);
    instances.noteLooks([answers('two-1')], 2_000);
    instances.noteLooks([answers('two-1')], 331_000);
    expect(standings(instances).ended).toEqual([]);
    instances.noteLooks([answers('two-1')], 332_000);
    expect(standings(instances).ended).toEqual(['one-1']);
  });

  test('two instances that answer in turn at one URL both live, and nothing is known of one while the other answers', () => {
    const instances = new Instances();
    for (const [at, id] of ['vm-1', 'vm-2', 'vm-1', 'vm-2'].entries())
      instances.noteLooks([answers(id)], at * 2_000);
    instances.noteLooks([answers('vm-2')], 600_000);
    expect(standings(instances)).toEqual({ live: ['vm-2'], ended: [], doubtful: ['vm-1'] });
  });

  test('one whose URL does not answer cannot be asked', () => {
    const instances = new Instances();
    instances.noteLooks([answers('vm-1')], 0);
    instances.noteLooks([silent()], 2_000);
    expect(standings(instances)).toEqual({ live: [], ended: [], doubtful: ['vm-1'] });
  });

  test('notes of other replicas win over what was seen here before', () => {
    const instances = new Instances();
    instances.noteLooks([silent()], 0);
    instances.noteStreams(listed(stream('vm-1', 60_000)), 0);
    instances.load([{ id: 'vm-1', url: URL_A, standing: 'named' }], 0);
    instances.noteLooks([answers('vm-2')], 0);
    instances.noteLooks([answers('vm-2')], 10_000);
    expect(standings(instances)).toEqual({ live: ['vm-2'], ended: ['vm-1'], doubtful: [] });
  });

  test('one that answered on another host has ended once that is noted', () => {
    const instances = new Instances();
    instances.load([{ id: 'vm-1', url: undefined, standing: 'named' }], 0);
    expect(standings(instances).doubtful).toEqual(['vm-1']);
    instances.load([{ id: 'vm-1', url: undefined, standing: 'ended' }], 10_000);
    expect(standings(instances)).toEqual({ live: [], ended: ['vm-1'], doubtful: [] });
  });

  test('another replica notes the end of one that it asks at a URL of its own, and this process does not note over it', () => {
    const instances = new Instances();
    instances.noteLooks([answers('vm-2', 'http://localhost:5681')], 0);
    instances.load([{ id: 'vm-1', url: URL_A, standing: 'named' }], 0);
    expect(standings(instances).doubtful).toEqual(['vm-1']);
    instances.takeChanges();
    instances.refresh();
    expect(instances.takeChanges().map(({ id }) => id)).toEqual(['vm-2']);
    instances.load([{ id: 'vm-1', url: URL_A, standing: 'ended' }], 10_000);
    expect(standings(instances)).toEqual({ live: ['vm-2'], ended: ['vm-1'], doubtful: [] });
  });

  test('one whose URL is not named any more cannot be asked', () => {
    const instances = new Instances();
    instances.load([{ id: 'vm-9', url: 'http://gone:5681', standing: 'named' }], 0);
    instances.noteLooks([answers('vm-1')], 0);
    expect(standings(instances).doubtful).toEqual(['vm-9']);
  });

  test('what was known before a restart of the companion ends like what was seen', () => {
    const instances = new Instances();
    instances.noteLooks([silent()], 0);
    instances.load([{ id: 'vm-1', url: URL_A, standing: 'named' }], 0);
    instances.noteLooks([answers('vm-2')], 0);
    instances.noteLooks([answers('vm-2')], 10_000);
    expect(standings(instances).ended).toEqual(['vm-1']);
  });
});

describe('instances that no option names', () => {
  test('one with a stream is unnamed: said once, after 10 s, and noted', () => {
    const instances = new Instances();
    instances.noteLooks([answers('vm-1')], 0);
    instances.takeChanges();
    instances.noteStreams(listed(stream('cp-b', 1_800_000)), 0);
    expect(instances.takeChanges()).toEqual([{ id: 'cp-b', url: undefined, standing: 'unnamed' }]);
    expect([
      instances.takeUnnamed(9_999),
      instances.takeUnnamed(10_000),
      instances.takeUnnamed(20_000),
    ]).toEqual([[], ['cp-b'], []]);
    expect(standings(instances).doubtful).toEqual(['cp-b']);
  });

  test('one that answers within the 10 s was only just started', () => {
    const instances = new Instances();
    instances.noteStreams(listed(stream('vm-2', 100)), 0);
    instances.noteLooks([answers('vm-2')], 2_000);
    expect([instances.takeUnnamed(60_000), standings(instances).doubtful]).toEqual([[], []]);
  });

  test('streams that have ended name no instance: a leak from before stays a leak', () => {
    const instances = new Instances();
    instances.noteStreams(listed(stream('cp-before', 7_200_000, 3_600_000)), 0);
    expect([instances.takeChanges(), standings(instances).doubtful]).toEqual([[], []]);
  });

  test('one that was noted before stays in doubt from the first moment, whatever its streams say', () => {
    const instances = new Instances();
    instances.load([{ id: 'cp-b', url: undefined, standing: 'unnamed' }], 0);
    expect(standings(instances).doubtful).toEqual(['cp-b']);
  });

  test('one that another companion names is in doubt here, and is not noted over', () => {
    const instances = new Instances();
    instances.load([{ id: 'cp-b', url: undefined, standing: 'named' }], 0);
    instances.refresh();
    expect([instances.takeChanges(), standings(instances).doubtful]).toEqual([[], ['cp-b']]);
  });
});

test('one that has ended lives after all if a stream of it moves', () => {
  const instances = new Instances();
  instances.noteLooks([answers('vm-1')], 0);
  instances.noteLooks([answers('vm-2')], 2_000);
  instances.noteLooks([answers('vm-2')], 12_000);
  const ghost = stream('vm-1', 60_000);
  instances.noteStreams(listed(ghost), 13_000);
  instances.noteStreams(listed(ghost), 28_000);
  expect(standings(instances).ended).toEqual(['vm-1']);
  instances.noteStreams(listed({ ...ghost, generation: 2 }), 43_000);
  expect(standings(instances)).toEqual({ live: ['vm-2'], ended: [], doubtful: ['vm-1'] });
});
