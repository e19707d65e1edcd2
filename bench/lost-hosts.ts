/**
 * Measures the loss of many hosts at once: in simulated time, how many are out of rotation each second, and the CPU time
 * of the companion, its witnesses and the fakes around it. Only the companion is real.
 * Arguments: how many agents (2000), how many of them are lost (600), and how long they had to find witnesses (120 s).
 */
import { Owner } from '../proto/gen/deregistrar/v1/deregistrar.ts';
import { FakeWitnessZone, type WitnessHost } from '../test/support/fakes/witness-scene.ts';
import { machine, table } from './statistics.ts';

const [AGENTS = 2_000, LOST = 600, MEET_S = 120] = process.argv.slice(2).map(Number);
const WATCHED_S = 25;
const OF_SERVICE = 10;

await using zone = new FakeWitnessZone();
zone.companion();
const hosts: WitnessHost[] = [];
for (let at = 0; at < AGENTS; at += 1) {
  const service = `service-${at % Math.ceil(AGENTS / OF_SERVICE)}`;
  hosts.push(await zone.serve(`dp-${at}`, { owner: Owner.AGENT, service }));
}
await zone.clock.pass(MEET_S * 1_000);

const rows = [['s after the loss', 'out', 'living ones out', 'CPU s']];
const lost = hosts.slice(0, LOST);
const before = process.cpuUsage();
for (const host of lost) zone.lose(host, 'silent');
for (let second = 1; second <= WATCHED_S; second += 1) {
  await zone.clock.pass(1_000);
  const out = hosts.filter(({ name }) => zone.state(name) === 'NotReady');
  const living = out.filter((host) => !lost.includes(host)).length;
  const { user } = process.cpuUsage(before);
  rows.push([`${second}`, `${out.length}`, `${living}`, (user / 1e6).toFixed(1)]);
}
console.log(`${machine()}: ${LOST} of ${AGENTS} lost`);
console.log(table(rows));
