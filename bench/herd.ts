/**
 * Measures a restart of the companion: the benchmark kills it with all agents attached and starts it again, once with
 * a quarter of the agents and once with all. The cost of each agent must not grow with their number.
 * Arguments: how many agents (4000), and the launcher of an older build to measure beside this one. `--tls`: with an
 * ECDSA certificate instead of in plain text.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import { CompanionProcess } from '../test/support/companion-process.ts';
import { ControlPlaneProcess } from '../test/support/kuma/control-plane-process.ts';
import { TLS_CERTIFICATE } from '../test/support/kuma/control-plane.ts';
import { TemporaryDir } from '../test/support/world/temporary-dir.ts';
import { waitUntil } from '../test/support/world/wait-until.ts';
import { DirectDeletes } from './direct-deletes.ts';
import { HerdAgent, type Herd } from './herd-agent.ts';
import { cpuSeconds, residentKb } from './process-usage.ts';
import { machine, table } from './statistics.ts';

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { tls: { type: 'boolean', default: false } },
});
const [agentsText = '4000', olderBuild] = positionals;
const { tls } = values;
const AGENTS = Number(agentsText);
/** How many agents attach for the first time, each second. */
const RATE = 200;
const BACK_MS = 180_000;

interface Measured {
  readonly build: string;
  readonly agents: number;
  readonly backS: number;
  readonly cpuMs: number;
  readonly objectLooks: number;
  readonly lists: number;
  readonly refused: number;
  readonly lost: number;
  readonly residentMb: number;
}

console.log(`${machine()}, ${tls ? 'TLS' : 'plain text'}`);
const measured: Measured[] = [];
const builds = olderBuild === undefined ? [undefined] : [olderBuild, undefined];
for (const bin of builds)
  for (const agents of [Math.floor(AGENTS / 4), AGENTS]) measured.push(await restartWith(agents, bin));
const [few, many] = measured.slice(-2);
console.log(
  table([
    ['', ...measured.map(({ build, agents }) => `${build}, ${agents} agents`)],
    row('all back, after it is ready', ({ backS }) => `${backS.toFixed(1)} s`),
    row('CPU for each agent, until all are back', ({ cpuMs }) => `${cpuMs.toFixed(2)} ms`),
    row('looks at single objects', ({ objectLooks }) => String(objectLooks)),
    row('lists of all objects', ({ lists }) => String(lists)),
    row('attempts that did not attach', ({ refused }) => String(refused)),
    row('agents that were lost', ({ lost }) => String(lost)),
    row('memory at the end', ({ residentMb }) => `${Math.round(residentMb)} MB`),
  ]),
);
console.log(
  `CPU for each agent, all against a quarter: ${((many?.cpuMs ?? 0) / (few?.cpuMs ?? 1)).toFixed(2)}`,
);
console.log(machine());
process.exit();

async function restartWith(agents: number, bin: string | undefined): Promise<Measured> {
  using dir = new TemporaryDir();
  await using controlPlane = await ControlPlaneProcess.start();
  const objects = new DirectDeletes(controlPlane.httpUrl, 16);
  for (let at = 0; at < agents; at += 1) await objects.put(`herd-${at}`);
  await using companion = await CompanionProcess.start({
    kumaApi: [controlPlane.httpUrl],
    dir: dir.path,
    ...(bin === undefined ? {} : { bin }),
    ...(tls ? { tls: TLS_CERTIFICATE } : {}),
  });
  await companion.waitUntilReady();
  const over = new AbortController();
  const herd: Herd = { attached: 0, failed: 0 };
  const { port } = companion;
  const running: Promise<void>[] = [];
  for (let at = 0; at < agents; at += 1) {
    running.push(new HerdAgent(herd, { port, at, tls }).stayAttached(over.signal));
    if (at % RATE === RATE - 1) await delay(1_000);
  }
  await allBack(herd, agents);
  await delay(5_000);
  const found = await restart(companion, controlPlane, { herd, agents });
  over.abort();
  await Promise.all(running);
  return { ...found, build: bin === undefined ? 'this build' : 'older build' };
}

async function restart(
  companion: CompanionProcess,
  controlPlane: ControlPlaneProcess,
  { herd, agents }: { readonly herd: Herd; readonly agents: number },
): Promise<Omit<Measured, 'build'>> {
  await companion.kill();
  await waitUntil(() => herd.attached === 0, { what: 'the agents to notice', budgetMs: BACK_MS });
  const before = {
    requests: (await controlPlane.journal()).requests.length,
    lost: companion.seen('agent.lost').length,
  };
  await companion.start();
  await companion.waitUntilReady();
  herd.failed = 0;
  const beganMs = performance.now();
  // Subtracts the start of Node and of the program itself.
  const startS = cpuSeconds(companion.pid);
  await allBack(herd, agents);
  const backS = (performance.now() - beganMs) / 1_000;
  const cpuMs = ((cpuSeconds(companion.pid) - startS) * 1_000) / agents;
  const requests = (await controlPlane.journal()).requests.slice(before.requests).map(({ path }) => path);
  return {
    agents,
    backS,
    cpuMs,
    objectLooks: requests.filter((path) => path.endsWith('/_overview') && path.includes('/meshes/')).length,
    lists: requests.filter((path) => path.startsWith('/dataplanes/_overview') && !path.includes('offset='))
      .length,
    refused: herd.failed,
    lost: companion.seen('agent.lost').length - before.lost,
    residentMb: residentKb(companion.pid) / 1_024,
  };
}

function allBack(herd: Herd, agents: number): Promise<unknown> {
  return waitUntil(() => herd.attached === agents, { what: 'all agents to be attached', budgetMs: BACK_MS });
}

function row(title: string, cell: (one: Measured) => string): readonly string[] {
  return [title, ...measured.map((one) => cell(one))];
}
