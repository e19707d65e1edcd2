import { beforeEach, describe, expect, test } from 'vitest';

import { ControlPlane } from '../support/kuma/control-plane.ts';
import { need } from '../support/need.ts';
import { hostsOfThisFile } from '../support/supervisors/hosts.ts';
import { DRAINED, killAgentUnderRequest } from '../support/supervisors/killed-agent.ts';
import { S6 } from '../support/supervisors/s6.ts';

const host = hostsOfThisFile();

describe.concurrent('s6', () => {
  beforeEach((context) => {
    need(context, 's6-svscan', 's6-svc');
  });

  test('a stop: out of the mesh before kuma-dp hears of it, and nothing is left', async () => {
    await using here = await host();
    const s6 = new S6(here);
    s6.start();
    await here.untilServing();

    expect(await s6.svc('-wD', '-d')).toEqual({ code: 0, text: '' });

    expect(here.keptOrder).toBe(true);
    expect(await s6.lastExit()).toBe('0 NA');
    await here.untilOnly(S6.own);
    expect(here.zombies).toEqual([]);
    expect(here.log, 'by the finish script').toContain('nothing to finish: it was deregistered already');
  });

  test('its own end is a stop, too', async () => {
    await using here = await host();
    const s6 = new S6(here);
    const { exited } = s6.start();
    await here.untilServing();

    await s6.svscanctl('-t');
    expect(await exited).toEqual({ code: 0, signal: null });

    expect(here.keptOrder).toBe(true);
    await here.untilOnly(undefined);
  });

  test('with SIGQUIT as down-signal kuma-dp dies of it, and drains nothing', async () => {
    await using here = await host();
    const s6 = new S6(here, { 'down-signal': () => 'SIGQUIT\n' });
    s6.start();
    await here.untilServing();
    const held = await here.hold();

    await s6.svc('-wD', '-d');

    expect(await held.status).toBe('cut');
    expect(here.log).toContain('SIGQUIT: quit');
    expect(await s6.lastExit()).toBe('2 NA');
    expect(here.reports.map(({ cause }) => cause)).toEqual(['kuma-dp exited']);
    await here.untilOnly(S6.own);
  });

  test('a limit that is too short cuts the drain, and the deregistration was before', async () => {
    await using here = await host();
    const s6 = new S6(here, { 'timeout-kill': () => '3000\n' });
    s6.start();
    await here.untilServing();
    const held = await here.hold();

    await s6.svc('-wD', '-d');

    expect(here.keptOrder).toBe(true);
    expect(await s6.lastExit()).toBe('-1 SIGKILL');
    expect(here.reports).toEqual([]);
    expect(await held.status).toBe('cut');
    expect(here.heardAtMs, 'in order, and of the agent’s death').toHaveLength(2);
    await here.untilOnly(S6.own, 10_000);
  });

  test('a kuma-dp that dies is deregistered, and started again', async () => {
    await using here = await host();
    const s6 = new S6(here);
    s6.start();
    await here.untilServing();
    const pid = here.pidOf('kuma-dp');

    here.kill('kuma-dp');

    await here.untilReplaced('kuma-dp', pid);
    expect(here.deletedAtMs).toHaveLength(1);
    await here.untilServing();
    await s6.svc('-wD', '-d');
    await here.untilOnly(S6.own);
  });

  test('an agent that is killed: its kuma-dp drains, and the next agent waits for that', async () => {
    await using here = await host({ drainTime: '5s' });
    const s6 = new S6(here);
    s6.start();
    await here.untilServing();
    expect(await killAgentUnderRequest(here)).toEqual(DRAINED);
    await s6.svc('-wD', '-d');
    await here.untilOnly(S6.own);
  });

  test.for([
    { finish: 'as documented', deletions: 1 },
    { finish: 'that does nothing', deletions: 0 },
  ])('all of them are killed, with a finish script $finish', async ({ finish, deletions }) => {
    // A control plane that does not delete by itself meanwhile.
    await using patient = await ControlPlane.start();
    await using here = await host({ controlPlane: patient });
    const s6 = new S6(here, finish === 'as documented' ? {} : { finish: () => '#!/bin/sh\n' });
    s6.start();
    await here.untilServing();
    await s6.svc('-O');

    here.kill('agent');
    here.kill('kuma-dp');

    await s6.svc('-wD', '-d');
    expect(here.deletedAtMs).toHaveLength(deletions);
    await here.untilOnly(S6.own);
  });

  test('is killed itself: everything runs on', async () => {
    await using here = await host();
    new S6(here).start();
    await here.untilServing();
    await here.killAll(S6.own);
    expect(await here.serves()).toBe(true);
    expect(here.heardAtMs).toEqual([]);
  });
});
