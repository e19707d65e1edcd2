import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

import pLimit from 'p-limit';
import { beforeEach, describe, expect, test, type TestContext } from 'vitest';

import { needNetworkNamespaces } from '../support/namespaces.ts';
import { need, unavailable } from '../support/need.ts';
import type { NetworkFleet } from '../support/world/network-fleet.ts';
import { descendantsOf, loseContact } from '../support/world/power-loss.ts';
import { NAMES } from '../support/world/under-load.ts';
import { acquainted, leavers } from './acquainted.ts';

const SUSPECT = 'backend-2';
/** Longer than a host that is lost stays in its peers' list. */
const WATCHED_MS = 15_000;
/** Each has four Envoys. */
const TOGETHER = 2;
const FREEZER = '/sys/fs/cgroup/freezer';

beforeEach((context) => {
  needNetworkNamespaces(context);
});

/** What makes the companion lose its stream, and what undoes it. */
interface Trouble {
  readonly what: string;
  readonly needs?: (context: TestContext) => void;
  readonly begin: (fleet: NetworkFleet) => () => void;
  /** How many streams the companion loses in that time. */
  readonly lost: number;
}

const TROUBLES: readonly Trouble[] = [
  {
    what: 'its processes are stopped, and its kernel accepts connections',
    begin: (fleet) => loseContact(fleet.instance(SUSPECT).process),
    lost: 0,
  },
  {
    what: 'its processes are frozen by a control group',
    needs: (context) => {
      if (!existsSync(FREEZER)) unavailable(context, 'no freezer of control groups v1 here');
    },
    begin: (fleet) => freeze(fleet.instance(SUSPECT).process.pid),
    lost: 0,
  },
  {
    what: 'the companion does not hear it any more, while its peers reach it',
    begin: (fleet) => cutOff(fleet, [SUSPECT]),
    lost: 1,
  },
  {
    what: 'the companion hears no instance any more',
    begin: (fleet) => cutOff(fleet, NAMES),
    lost: NAMES.length,
  },
  ...(['DROP', 'REJECT'] as const).map((answer) => ({
    what: `the companion hears it no more, and a firewall keeps its witnesses out (${answer}), not its clients`,
    needs: (context: TestContext) => {
      need(context, 'iptables');
    },
    begin: (fleet: NetworkFleet) => shutWitnessesOut(fleet, answer),
    lost: 1,
  })),
];

const together = pLimit(TOGETHER);

describe.concurrent('an instance that its clients reach stays in their list when', () => {
  test.for(TROUBLES)('$what', async ({ needs, begin, lost }, context) => {
    needs?.(context);
    const taken = await together(() => takenOutDuring(begin, lost));
    expect(taken).toEqual({ left: [], sidelined: [] });
  });
});

/** The endpoints that left the peer's list, and the companion's log lines about them. */
async function takenOutDuring(begin: Trouble['begin'], lost: number) {
  await using fleet = await acquainted({ names: NAMES, with: 'companion' });
  const watcher = fleet.watch();
  const end = begin(fleet);
  if (lost > 0) await fleet.companion?.waitForEvent('agent.lost', { count: lost });
  await delay(WATCHED_MS);
  end();
  await delay(2_000);
  const sidelined = fleet.companion?.events.filter(({ event }) => event === 'dataplane.sidelined');
  return { left: leavers(watcher), sidelined };
}

function cutOff(fleet: NetworkFleet, names: readonly string[]): () => void {
  for (const name of names) fleet.instance(name).host.loseWayTo(fleet.address);
  return () => {
    for (const name of names) fleet.instance(name).host.findWayTo(fleet.address);
  };
}

function shutWitnessesOut(fleet: NetworkFleet, answer: 'DROP' | 'REJECT'): () => void {
  const { host, command } = fleet.instance(SUSPECT);
  for (const { name, host: witness } of fleet.instances)
    if (name !== SUSPECT) host.shut(command.inboundPort, { from: witness.address, answer });
  host.shutOut(fleet.address, Number(fleet.companion?.port));
  return () => undefined;
}

function freeze(pid: number): () => void {
  const group = `${FREEZER}/kuma-dp-agent-${pid}`;
  mkdirSync(group);
  for (const each of [pid, ...descendantsOf(pid)]) writeFileSync(`${group}/cgroup.procs`, String(each));
  writeFileSync(`${group}/freezer.state`, 'FROZEN');
  return () => {
    writeFileSync(`${group}/freezer.state`, 'THAWED');
    for (const each of [pid, ...descendantsOf(pid)]) writeFileSync(`${FREEZER}/cgroup.procs`, String(each));
    rmdirSync(group);
  };
}
