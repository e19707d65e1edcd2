import { beforeEach, describe, expect, test } from 'vitest';

import { need } from '../support/need.ts';
import { hostsOfThisFile } from '../support/supervisors/hosts.ts';
import { DRAINED, killAgentUnderRequest } from '../support/supervisors/killed-agent.ts';
import { Supervisord } from '../support/supervisors/supervisord.ts';

const host = hostsOfThisFile();

describe.concurrent('supervisord', () => {
  beforeEach((context) => {
    need(context, 'supervisord', 'supervisorctl');
  });

  test('a stop: out of the mesh before kuma-dp hears of it, and nothing is left', async () => {
    await using here = await host();
    const supervisord = new Supervisord(here);
    supervisord.start();
    await here.untilServing();

    expect(await supervisord.ctl('stop', 'kuma-dp')).toEqual({ code: 0, text: 'kuma-dp: stopped' });

    expect(here.keptOrder).toBe(true);
    expect(supervisord.log).toContain('stopped: kuma-dp (exit status 0)');
    await here.untilOnly(Supervisord.own);
    expect(here.zombies).toEqual([]);
  });

  test.for([
    { priority: 'as documented', change: (text: string) => text, first: 'kuma-dp' },
    {
      priority: 'the other way round',
      change: (text: string) => text.replace('priority=100', 'priority=1000'),
      first: 'application',
    },
  ])('its own end is a stop, too, and priority $priority ends $first first', async ({ change, first }) => {
    await using here = await host();
    const supervisord = new Supervisord(here, change);
    const { exited } = supervisord.start();
    await here.untilServing();

    await supervisord.ctl('shutdown');
    expect(await exited).toEqual({ code: 0, signal: null });

    expect(here.keptOrder).toBe(true);
    expect(/stopped: (\S+)/.exec(supervisord.log)?.[1]).toBe(first);
    await here.untilOnly(undefined);
  });

  test('with stopasgroup kuma-dp gets the stop signal before the agent acts on it', async () => {
    await using here = await host();
    const supervisord = new Supervisord(here, (text) =>
      text.replace('stopasgroup=false', 'stopasgroup=true'),
    );
    supervisord.start();
    await here.untilServing();

    await supervisord.ctl('stop', 'kuma-dp');

    expect(here.keptOrder).toBe(false);
    expect(here.deletedAtMs).toHaveLength(1);
    await here.untilOnly(Supervisord.own);
  });

  test('a limit that is too short cuts the drain, and the deregistration was before', async () => {
    await using here = await host();
    const supervisord = new Supervisord(here, (text) => text.replace('stopwaitsecs=75', 'stopwaitsecs=3'));
    supervisord.start();
    await here.untilServing();
    const held = await here.hold();

    await supervisord.ctl('stop', 'kuma-dp');

    expect(here.keptOrder).toBe(true);
    expect(supervisord.log).toContain('stopped: kuma-dp (terminated by SIGKILL)');
    expect(here.reports).toEqual([]);
    expect(await held.status).toBe('cut');
    await here.untilOnly(Supervisord.own);
  });

  test('a stop budget below the limit ends in order what it has to cut', async () => {
    await using here = await host({ env: { KUMA_DP_AGENT_STOP_BUDGET: '2s' } });
    const supervisord = new Supervisord(here, (text) => text.replace('stopwaitsecs=75', 'stopwaitsecs=3'));
    supervisord.start();
    await here.untilServing();
    const held = await here.hold();

    await supervisord.ctl('stop', 'kuma-dp');

    expect(here.keptOrder).toBe(true);
    expect(supervisord.log).toContain('stopped: kuma-dp (exit status 0)');
    expect(here.reports.map(({ steps }) => steps.map(({ step, outcome }) => [step, outcome]))).toEqual([
      [
        ['deregister', 'gone'],
        ['settle', 'time is up'],
        ['drain', 'time is up'],
        ['exit', 'exit code 0'],
        ['confirm', 'gone'],
      ],
    ]);
    expect(await held.status).toBe('cut');
    await here.untilOnly(Supervisord.own);
  });

  test('a kuma-dp that dies is deregistered, and started again', async () => {
    await using here = await host();
    const supervisord = new Supervisord(here);
    supervisord.start();
    await here.untilServing();
    const pid = here.pidOf('kuma-dp');

    here.kill('kuma-dp');

    await here.untilReplaced('kuma-dp', pid);
    expect(here.deletedAtMs).toHaveLength(1);
    expect(supervisord.log).toContain('exited: kuma-dp (terminated by SIGKILL; not expected)');
    await here.untilServing();
    await supervisord.ctl('stop', 'kuma-dp');
    await here.untilOnly(Supervisord.own);
  });

  test('an agent that is killed: its kuma-dp drains, and the next agent waits for that', async () => {
    await using here = await host({ drainTime: '6s' });
    const supervisord = new Supervisord(here);
    supervisord.start();
    await here.untilServing();
    expect(await killAgentUnderRequest(here)).toEqual(DRAINED);
    await supervisord.ctl('stop', 'kuma-dp');
    await here.untilOnly(Supervisord.own);
  });

  test('is killed itself: everything runs on', async () => {
    await using here = await host();
    new Supervisord(here).start();
    await here.untilServing();
    await here.killAll(Supervisord.own);
    expect(await here.serves()).toBe(true);
    expect(here.heardAtMs).toEqual([]);
  });
});
