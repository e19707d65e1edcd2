import { beforeEach, describe, expect, test } from 'vitest';

import { ControlPlane } from '../support/kuma/control-plane.ts';
import { need } from '../support/need.ts';
import { hostsOfThisFile } from '../support/supervisors/hosts.ts';
import { DRAINED, killAgentUnderRequest } from '../support/supervisors/killed-agent.ts';
import { Runit } from '../support/supervisors/runit.ts';
import { waitUntil } from '../support/world/wait-until.ts';

const host = hostsOfThisFile();

describe.concurrent('runit', () => {
  beforeEach((context) => {
    need(context, 'runsvdir', 'sv');
  });

  test('a stop: out of the mesh before kuma-dp hears of it, and nothing is left', async () => {
    await using here = await host();
    const runit = new Runit(here);
    runit.start();
    await here.untilServing();

    const { code, text } = await runit.sv('-w', '75', 'stop');

    expect(code).toBe(0);
    expect(text).toMatch(/^ok: down: /);
    expect(here.keptOrder).toBe(true);
    expect(here.reports.map(({ exit }) => exit)).toEqual([{ code: 0, signal: null }]);
    await here.untilOnly(Runit.own);
    expect(here.zombies).toEqual([]);
    expect(here.log, 'by the finish script').toContain('nothing to finish: it was deregistered already');
  });

  test('its own end, SIGHUP to runsvdir, is a stop, too', async () => {
    await using here = await host();
    const runit = new Runit(here);
    const { exited, signal } = runit.start();
    await here.untilServing();

    signal('SIGHUP');
    expect(await exited).toEqual({ code: 111, signal: null });

    await here.untilOnly(undefined, 20_000);
    expect(here.keptOrder).toBe(true);
  });

  test('without exec the shell dies of the stop, and the agent never hears of it', async () => {
    await using here = await host();
    const runit = new Runit(here, { run: (text) => text.replace('exec /', '/') });
    runit.start();
    await here.untilServing();

    expect((await runit.sv('-w', '75', 'stop')).text).toMatch(/^ok: down: /);

    expect(here.deletedAtMs).toEqual([]);
    expect(here.findPid('agent')).toBeDefined();
    expect(await here.serves()).toBe(true);
  });

  test('sv gives up after its seven seconds, and the stop goes on', async () => {
    await using here = await host();
    const runit = new Runit(here);
    runit.start();
    await here.untilServing();
    const held = await here.hold();

    const { code, text } = await runit.sv('stop');
    expect(code).toBe(1);
    expect(text).toMatch(/^timeout: run: .*, want down/);

    here.application.release();
    expect(await held.status).toBe(200);
    await here.untilOnly(Runit.own, 10_000);
    expect(here.keptOrder).toBe(true);
  });

  test('sv force-stop with a limit that is too short cuts the drain, and the deregistration was before', async () => {
    await using here = await host();
    const runit = new Runit(here);
    runit.start();
    await here.untilServing();
    const held = await here.hold();

    const { text } = await runit.sv('-w', '3', 'force-stop');
    expect(text).toMatch(/^kill: run: /);

    expect(here.keptOrder).toBe(true);
    expect(await held.status).toBe('cut');
    expect(here.heardAtMs, 'in order, and of the agent’s death').toHaveLength(2);
    await here.untilOnly(Runit.own, 10_000);
    expect(here.reports).toEqual([]);
  });

  test('a kuma-dp that dies is deregistered, and started again', async () => {
    await using here = await host();
    const runit = new Runit(here);
    runit.start();
    await here.untilServing();
    const pid = here.pidOf('kuma-dp');

    here.kill('kuma-dp');

    await here.untilReplaced('kuma-dp', pid);
    expect(here.deletedAtMs).toHaveLength(1);
    await here.untilServing();
    await runit.sv('-w', '75', 'stop');
    await here.untilOnly(Runit.own);
  });

  test('an agent that is killed: its kuma-dp drains, and the next agent waits for that', async () => {
    await using here = await host({ drainTime: '5s' });
    const runit = new Runit(here);
    runit.start();
    await here.untilServing();
    expect(await killAgentUnderRequest(here)).toEqual(DRAINED);
    await runit.sv('-w', '75', 'stop');
    await here.untilOnly(Runit.own);
  });

  test('all of them are killed: the finish script does what is left to do', async () => {
    // A control plane that does not delete by itself meanwhile.
    await using patient = await ControlPlane.start();
    await using here = await host({ controlPlane: patient });
    const runit = new Runit(here);
    runit.start();
    await here.untilServing();
    await runit.sv('once');

    here.kill('agent');
    here.kill('kuma-dp');

    // Not until nothing runs: between them and the finish script, nothing does.
    await waitUntil(() => here.deletedAtMs.length > 0, { what: 'the finish script', budgetMs: 10_000 });
    await here.untilOnly(Runit.own);
    expect(here.deletedAtMs).toHaveLength(1);
  });

  test('is killed itself: everything runs on', async () => {
    await using here = await host();
    new Runit(here).start();
    await here.untilServing();
    await here.killAll(Runit.own);
    expect(await here.serves()).toBe(true);
    expect(here.heardAtMs).toEqual([]);
  });
});
