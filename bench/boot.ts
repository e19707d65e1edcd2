/**
 * Measures a zone that boots: agents that own their object start within a while. Each waits 800 ms for its attach and
 * for the companion to put its object, as agents do, and then starts without it.
 * Arguments: how many agents (1000), and within how many seconds (20). `--tls`: with an ECDSA certificate instead of
 * in plain text.
 */
import { randomUUID } from 'node:crypto';
import type { ClientHttp2Session } from 'node:http2';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import { Owner, RegisterRequest } from '../proto/gen/deregistrar/v1/deregistrar.ts';
import { CompanionProcess } from '../test/support/companion-process.ts';
import { ControlPlaneProcess } from '../test/support/kuma/control-plane-process.ts';
import { TLS_CERTIFICATE } from '../test/support/kuma/control-plane.ts';
import { TemporaryDir } from '../test/support/world/temporary-dir.ts';
import { waitUntil } from '../test/support/world/wait-until.ts';
import { dataplane } from './bench-agent.ts';
import { attachRequest, framed, headersOf, openSession } from './herd-agent.ts';
import { cpuSeconds } from './process-usage.ts';
import { machine, percentile, table } from './statistics.ts';

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { tls: { type: 'boolean', default: false } },
});
const [AGENTS = 1_000, WITHIN_S = 20] = positionals.map(Number);
const { tls } = values;
/** As `agent/object/claim-name.ts` has it: for both steps, and at least so long for the second one. */
const CLAIM_MS = 800;
const REGISTER_FLOOR_MS = 200;
const PATIENCE_MS = 180_000;

/** Each from the start on. */
interface Start {
  connectedMs: number | undefined;
  attachedMs: number | undefined;
  registeredMs: number | undefined;
}

using dir = new TemporaryDir();
await using controlPlane = await ControlPlaneProcess.start();
await using companion = await CompanionProcess.start({
  kumaApi: [controlPlane.httpUrl],
  dir: dir.path,
  ...(tls ? { tls: TLS_CERTIFICATE } : {}),
});
await companion.waitUntilReady();
console.log(`${machine()}, ${tls ? 'TLS' : 'plain text'}`);
const { port } = companion;
const starts: Start[] = [];
const sessions: ClientHttp2Session[] = [];
const beganMs = performance.now();
const beganCpuS = cpuSeconds(companion.pid);
for (let at = 0; at < AGENTS; at += 1) {
  await delay(Math.max(0, beganMs + (at / AGENTS) * WITHIN_S * 1_000 - performance.now()));
  starts.push(begin(at));
}
await waitUntil(() => starts.every(({ attachedMs }) => attachedMs !== undefined), {
  what: 'all agents to be attached',
  budgetMs: PATIENCE_MS,
});
const tookS = (performance.now() - beganMs) / 1_000;
const cpuMs = ((cpuSeconds(companion.pid) - beganCpuS) * 1_000) / AGENTS;
const late = starts.filter((start) => !isInTime(start)).length;
console.log(
  table([
    ['', `${AGENTS} agents within ${WITHIN_S} s`],
    ['all attached', `${tookS.toFixed(1)} s`],
    ['connected, p50 and p99', step(({ connectedMs }) => connectedMs)],
    ['attached after that', step(({ connectedMs, attachedMs }) => between(connectedMs, attachedMs))],
    ['registered after that', step(({ attachedMs, registeredMs }) => between(attachedMs, registeredMs))],
    ['started without their object', `${late} (${((100 * late) / AGENTS).toFixed(1)} %)`],
    ['CPU for each agent', `${cpuMs.toFixed(2)} ms`],
    ['agents that were lost', String(companion.seen('agent.lost').length)],
  ]),
);
console.log(machine());
for (const session of sessions) session.destroy();
process.exit();

function isInTime({ attachedMs = Infinity, registeredMs = Infinity }: Start): boolean {
  const leftMs = Math.max(CLAIM_MS - attachedMs, REGISTER_FLOOR_MS);
  return attachedMs < CLAIM_MS && registeredMs - attachedMs <= leftMs;
}

/** Percentiles of one step, over the agents that have finished it. */
function step(of: (start: Start) => number | undefined): string {
  const tookMs = starts.map((start) => of(start)).filter((ms) => ms !== undefined);
  if (tookMs.length === 0) return 'none';
  return `${percentile(tookMs, 50).toFixed(0)} and ${percentile(tookMs, 99).toFixed(0)} ms, ${tookMs.length} agents`;
}

function between(fromMs: number | undefined, toMs: number | undefined): number | undefined {
  return fromMs === undefined || toMs === undefined ? undefined : toMs - fromMs;
}

/** One agent that starts: attaches, puts its object if it is in time for that, and stays attached. */
function begin(at: number): Start {
  const name = `boot-${at}`;
  const incarnation = { dataplane: { mesh: 'default', name }, id: randomUUID(), address: '' };
  const startedMs = performance.now();
  const start: Start = { connectedMs: undefined, attachedMs: undefined, registeredMs: undefined };
  const session = openSession({ port, at, tls });
  session.once('remoteSettings', () => {
    start.connectedMs = performance.now() - startedMs;
  });
  sessions.push(session);
  const stream = session.request(headersOf('Attach'));
  stream.on('error', () => undefined);
  stream.on('data', () => {
    if (start.attachedMs !== undefined) return;
    start.attachedMs = performance.now() - startedMs;
    if (start.attachedMs < CLAIM_MS) register();
  });
  stream.write(framed(attachRequest(name, { incarnation, owner: Owner.AGENT, phase: 'starting' })));
  const register = (): void => {
    const resource = Buffer.from(JSON.stringify(dataplane(name)));
    const call = session.request(headersOf('Register'));
    call.on('error', () => undefined);
    call.on('trailers', (trailers) => {
      if (trailers['grpc-status'] === '0') start.registeredMs = performance.now() - startedMs;
    });
    call.resume();
    call.end(framed(RegisterRequest.encode(RegisterRequest.fromPartial({ incarnation, resource })).finish()));
  };
  return start;
}
