import { type KumaWorld } from '../kuma-worlds/kuma-world.ts';
import { callAdmin } from '../kuma/stand-in/admin-client.ts';
import { acceptsConnections } from '../world/accepts-connections.ts';
import { type Instance } from '../world/fleet.ts';
import { endpointsIn } from '../world/clusters-answer.ts';
import { waitUntil } from '../world/wait-until.ts';
import { type Tempo } from './scenario.ts';

/** What a lane needs of the world around it. */
export interface LaneSurroundings {
  readonly world: KumaWorld;
  readonly tempo: Tempo;
  /** A dataplane of another service, whose Envoy calls every lane's service. */
  readonly peer: () => Instance;
  /** Where the peer's Envoy listens for a lane's service. */
  readonly peerPort: (service: string) => number;
  /** Where dataplanes connect, if not to the first control plane. */
  readonly frontPort: number | undefined;
  /** Where the listeners of a builtin gateway are. */
  readonly gatewayPort: (service: string) => number;
}

/** Waits until an instance's Envoy listens on a port. */
export async function untilAccepting(port: number, instance: Instance): Promise<void> {
  await waitUntil(() => acceptsConnections(port), {
    what: () => `${instance.name} to listen on ${port}; it said: ${instance.process.stderr.slice(-2_000)}`,
    budgetMs: 60_000,
  });
}

/** What an instance's Envoy would balance over for a service: `127.0.0.1:10001`. */
export async function endpointsAt(instance: Instance, service: string): Promise<readonly string[]> {
  const { body } = await callAdmin({ socket: instance.command.adminSocket }, 'GET', '/clusters?format=json');
  // A cluster of one of several destinations has a hash after its name.
  const hashed = new RegExp(`^${service}-[0-9a-f]{16}$`);
  return endpointsIn(body, (name) => name === service || hashed.test(name));
}
