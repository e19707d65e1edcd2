import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';

import { describe, expect, test } from 'vitest';

import { DeregisterResponse_Outcome as Outcome } from '../../../proto/gen/deregistrar/v1/deregistrar.ts';
import { CompanionProcess } from '../../support/companion-process.ts';
import { CompanionWorld } from '../../support/companion-world.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

describe('a store', () => {
  const DAMAGES: readonly (readonly [string, (file: string) => void, RegExp])[] = [
    [
      'cut off in the middle',
      (file) => truncateSync(file, Math.floor(statSync(file).size / 2)),
      /it is damaged/,
    ],
    ['a stub of 100 bytes', (file) => truncateSync(file, 100), /it is damaged \(100 bytes are left of it\)/],
    [
      'garbage',
      (file) => writeFileSync(file, Buffer.alloc(64 * 1_024, 0x5a)),
      /it is damaged|not a database/,
    ],
    ['garbage in the middle', spoil, /it is damaged/],
    ['of another program', (file) => writeFileSync(file, foreignDatabase(file)), /of another program/],
  ];

  test.concurrent.for(DAMAGES)(
    'that is %s is refused with the remedy, and not touched',
    async ([, damage, words]) => {
      await using world = await used();
      const { store } = world.companion;
      damage(store);
      const bytes = readFileSync(store);
      await world.companion.start();
      expect((await world.companion.exited()).code).toBe(69);
      const said = world.companion.spoken.join('\n');
      expect(said).toMatch(words);
      expect(said).toContain(store);
      expect(readFileSync(store).equals(bytes)).toBe(true);
      expect(world.requests('web-1')).toBe(0);
    },
  );

  test.concurrent('of another process is refused, and that process is not disturbed', async () => {
    await using world = await CompanionWorld.start();
    await using second = await CompanionProcess.create({
      kumaApi: [world.controlPlane.httpUrl],
      dir: world.dir.path,
    });
    await second.start();
    expect((await second.exited()).code).toBe(69);
    expect(second.spoken.join('\n')).toMatch(
      /^kuma-deregistrar: Cannot use the store .*: another process has it\. A file is for one kuma-deregistrar; for several, use --store postgres:\/\/…$/,
    );
    const agent = await world.running('web-1');
    expect((await agent.deregister()).outcome).toBe(Outcome.DELETED);
  });

  test.concurrent('on a full disk serves agents and tells them, loses nothing, and recovers', async () => {
    await using world = await CompanionWorld.start({ companion: { grace: '2s' } });
    const stays = await world.running('stays');
    const leaves = await world.running('leaves');
    const lost = await world.running('lost');
    world.fault({ method: 'DELETE', path: 'dataplanes/waits$', action: { kind: 'answer', status: 503 } });
    const waits = await world.running('waits');
    expect(await waits.deregister({ budgetMs: 500 })).toMatchObject({
      outcome: Outcome.ACCEPTED,
      durable: true,
    });

    limitFiles(world, 4_096);
    await world.companion.waitForEvent('store.lost');
    // Announced departures go on, in memory, and say that they are.
    expect(await leaves.deregister()).toEqual({
      outcome: Outcome.DELETED,
      guard: '',
      reason: 'its agent said that it leaves',
      durable: false,
    });
    const newcomer = world.agent('newcomer');
    expect(await newcomer.attach()).toMatchObject({ epoch: 0, fenced: false });
    await waitUntil(async () => (await world.metric('store_up')) === 0, { what: 'the metric' });
    const status = await world.status();
    expect(status.store?.problem).not.toBe('');
    // Nothing that only a silence speaks for is deleted meanwhile.
    lost.vanish();
    world.disconnect('lost');
    const untilMs = performance.now() + 4_000;
    await waitUntil(() => performance.now() > untilMs, { what: 'twice the grace' });
    expect(world.requests('lost')).toBe(0);

    limitFiles(world, 'unlimited');
    await world.companion.waitForEvent('store.found');
    await waitUntil(() => newcomer.heard.some((each) => each.$case === 'attached' && each.value.fenced), {
      what: 'the newcomer to be fenced',
    });
    await world.waitUntilGone('lost');
    world.controlPlane.faults.clear();
    await world.waitUntilGone('waits');
    expect(await world.row('stays')).toMatchObject({ state: 'attached' });
    expect(world.requests('stays') + world.requests('newcomer')).toBe(0);
    expect(world.deletions('leaves')).toBe(1);
    // It is on the disk: a crash loses nothing.
    await world.companion.restart('kill');
    expect((await stays.ended).code).not.toBe(0);
    expect(await stays.attach()).toMatchObject({ fenced: true, leaving: false });
    expect((await world.row('newcomer'))?.epoch).toBeGreaterThan(0);
  });
});

/** A file that a companion has used, and that ended. */
async function used(): Promise<CompanionWorld> {
  const world = await CompanionWorld.start();
  const agent = await world.running('web-1');
  agent.vanish();
  await world.waitForRow('web-1', { state: 'lost' });
  await world.companion.stop();
  return world;
}

/** Limits the files of this process to `bytes`, as a full disk would. */
function limitFiles({ companion }: CompanionWorld, bytes: number | 'unlimited'): void {
  execFileSync('prlimit', [`--pid=${companion.pid}`, `--fsize=${bytes}:`]);
}

function spoil(file: string): void {
  const bytes = readFileSync(file);
  bytes.fill(0x5a, 4_096, 12_288);
  writeFileSync(file, bytes);
  if (existsSync(`${file}-wal`)) truncateSync(`${file}-wal`, 0);
}

/** A database with a table that is not ours. */
function foreignDatabase(near: string): Buffer {
  const path = `${near}.foreign`;
  const code = `import { DatabaseSync } from 'node:sqlite'; new DatabaseSync(process.argv[1]).exec('create table theirs (a)')`;
  execFileSync(process.execPath, ['--input-type=module', '-e', code, path], { stdio: 'ignore' });
  return readFileSync(path);
}
