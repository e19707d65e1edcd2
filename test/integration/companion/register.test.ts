import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { INCARNATION_LABEL } from '../../../kuma/dataplane.ts';
import { Rotation_Turn } from '../../../proto/gen/deregistrar/v1/deregistrar.ts';
import { CompanionWorld, dataplane } from '../../support/companion-world.ts';
import { isReady, networkingOf } from '../../support/kuma/dataplane-model.ts';

describe('registering', () => {
  let world: CompanionWorld;

  beforeAll(async () => {
    world = await CompanionWorld.start();
  });

  afterAll(() => world[Symbol.asyncDispose]());

  /** Whether peers see it. */
  function stateOf(name: string): 'Ready' | 'NotReady' | undefined {
    const object = world.find(name);
    if (object === undefined) return undefined;
    return networkingOf(object.spec).inbound?.every(isReady) === true ? 'Ready' : 'NotReady';
  }

  test('puts the object NotReady with the incarnation’s label, and makes it Ready when its agent serves', async () => {
    const agent = world.owner('ready');
    await agent.attach();
    await agent.register(false);
    expect(stateOf('ready')).toBe('NotReady');
    expect(world.find('ready')?.labels).toMatchObject({ [INCARNATION_LABEL]: agent.incarnation.id });
    await agent.register(true);
    expect(stateOf('ready')).toBe('Ready');
    expect(world.find('ready')?.labels).toMatchObject({ [INCARNATION_LABEL]: agent.incarnation.id });
  });

  test("leaves ports that the resource holds back NotReady, and keeps other writers' changes", async () => {
    const resource = { ...dataplane('kept'), labels: { team: 'blue' } };
    const agent = world.owner('kept', { resource });
    await agent.attach();
    await agent.register(false);
    const stored = world.find('kept');
    if (stored !== undefined)
      world.controlPlane.store.save({ ...stored, labels: { ...stored.labels, found: 'later' } });
    const held = dataplane('kept');
    const { networking } = held as { networking: { inbound: readonly object[] } };
    const inbound = networking.inbound.map((each) => ({ ...each, state: 'Ignored' }));
    await agent.register(true, { ...held, networking: { ...networking, inbound } });
    expect(stateOf('kept')).toBe('NotReady');
    expect(world.find('kept')?.labels).toMatchObject({ team: 'blue', found: 'later' });
  });

  test('lets a successor take the object over; then its predecessor can neither put it nor make it ready', async () => {
    const older = world.owner('taken');
    await older.attach();
    await older.register(false);
    const newer = world.owner('taken');
    await newer.attach();
    await newer.register(false);
    const words =
      'FAILED_PRECONDITION: Dataplane default/taken stays as it is: this incarnation is not attached';
    await expect(older.register(true)).rejects.toThrow(words);
    await expect(older.register(false)).rejects.toThrow(words);
    expect(world.find('taken')?.labels).toMatchObject({ [INCARNATION_LABEL]: newer.incarnation.id });
    expect(stateOf('taken')).toBe('NotReady');
  });

  test('does not put the object of a leaving incarnation again', async () => {
    world.fault({ method: 'DELETE', path: 'dataplanes/leaves$', action: { kind: 'answer', status: 503 } });
    const agent = world.owner('leaves');
    await agent.attach();
    await agent.register(false);
    await agent.deregister({ budgetMs: 500 });
    const puts = world.requests('leaves', 'PUT');
    await expect(agent.register(true)).rejects.toThrow(/^FAILED_PRECONDITION: .* or this one leaves$/);
    expect(world.requests('leaves', 'PUT')).toBe(puts);
    world.controlPlane.faults.clear();
    await world.waitUntilGone('leaves');
    await expect(agent.register(true)).rejects.toThrow(/^FAILED_PRECONDITION: /);
    expect(world.find('leaves')).toBeUndefined();
  });

  test('puts nothing for an incarnation that never attached', async () => {
    await expect(world.owner('stranger').register(false)).rejects.toThrow(
      'FAILED_PRECONDITION: Dataplane default/stranger stays as it is: this incarnation is not attached',
    );
    expect(world.requests('stranger', 'PUT')).toBe(0);
  });

  test('does not make another run’s object ready', async () => {
    const agent = world.owner('foreign');
    await agent.attach();
    world.put('foreign', { labels: { [INCARNATION_LABEL]: 'another-run-of-it' } });
    const before = world.find('foreign');
    await expect(agent.register(true)).rejects.toThrow(
      'FAILED_PRECONDITION: Dataplane default/foreign stays as it is: it carries another incarnation: another-run-of-it',
    );
    expect(world.find('foreign')).toEqual(before);
  });

  test('leaves retries at a failing control plane to the caller', async () => {
    const agent = world.owner('retries');
    await agent.attach();
    world.fault({ method: 'PUT', times: 1, action: { kind: 'answer', status: 503 } });
    await expect(agent.register(false)).rejects.toThrow(/^UNAVAILABLE: /);
    await agent.register(false);
    expect(stateOf('retries')).toBe('NotReady');
  });

  test('takes an object that its control plane owns out of rotation and back, and changes nothing else', async () => {
    const agent = await world.running('turned');
    const before = world.find('turned');
    const { found, states } = await agent.rotate(Rotation_Turn.LOOK);
    expect({ found, states: Object.values(states) }).toEqual({ found: true, states: ['Ready'] });
    expect(await agent.rotate(Rotation_Turn.OUT)).toMatchObject({ found: true, changed: true, states });
    expect(stateOf('turned')).toBe('NotReady');
    expect(world.find('turned')?.labels).toEqual(before?.labels);
    expect(await agent.rotate(Rotation_Turn.OUT)).toMatchObject({ changed: false });
    expect(await agent.rotate(Rotation_Turn.IN, states)).toMatchObject({ changed: true });
    expect(stateOf('turned')).toBe('Ready');
    expect(world.find('turned')?.spec).toEqual(before?.spec);
  });

  test('creates nothing for a rotation, and refuses another run’s object or an unknown turn', async () => {
    const agent = world.agent('unturned');
    await agent.attach();
    expect(await agent.rotate(Rotation_Turn.OUT)).toMatchObject({ found: false, changed: false });
    expect(stateOf('unturned')).toBeUndefined();
    world.put('unturned', { labels: { [INCARNATION_LABEL]: 'another-run-of-it' } });
    await expect(agent.rotate(Rotation_Turn.OUT)).rejects.toThrow('another incarnation');
    await expect(agent.rotate(Rotation_Turn.UNSPECIFIED)).rejects.toThrow(/^INVALID_ARGUMENT: /);
    await expect(agent.rotate(Rotation_Turn.IN, { ':80': 'Sideways' })).rejects.toThrow(
      /^INVALID_ARGUMENT: /,
    );
    await expect(world.agent('unturned').rotate(Rotation_Turn.LOOK)).rejects.toThrow('is not attached');
  });
});
