import { callAdmin } from '../kuma/stand-in/admin-client.ts';
import { endpointsIn } from '../world/clusters-answer.ts';
import { type DataplaneCommand } from '../world/dataplane-command.ts';
import { freePort } from '../world/free-port.ts';
import { HttpApplication } from '../world/http-application.ts';
import { ManagedProcess } from '../world/managed-process.ts';
import { waitUntil } from '../world/wait-until.ts';
import { type KumaWorld, type Peer } from './kuma-world.ts';

/** The port under which a MeshService offers its inbounds. */
const SERVICE_PORT = 80;

/** A kuma-dp of another service whose Envoy has an outbound to the service. */
export class RealPeer implements Peer {
  readonly port: number;
  readonly #service: string;
  readonly #command: DataplaneCommand;
  readonly #process: ManagedProcess;
  readonly #behaviour: KumaWorld['behaviour'];
  readonly #disposables: AsyncDisposableStack;

  private constructor(
    world: KumaWorld,
    parts: {
      readonly service: string;
      readonly port: number;
      readonly command: DataplaneCommand;
      readonly process: ManagedProcess;
      readonly disposables: AsyncDisposableStack;
    },
  ) {
    this.#service = parts.service;
    this.port = parts.port;
    this.#behaviour = world.behaviour;
    this.#command = parts.command;
    this.#process = parts.process;
    this.#disposables = parts.disposables;
  }

  static async start(world: KumaWorld, service: string): Promise<RealPeer> {
    await using disposables = new AsyncDisposableStack();
    const name = `client-of-${service}`;
    const application = disposables.use(await HttpApplication.start({ name }));
    const port = await freePort();
    if (!world.behaviour.inboundTags) await putService(world, service);
    const command = await world.dataplane({ name, service: name, servicePort: application.port });
    const resource = withOutbound(command.resource, outboundTo(service, port, world.behaviour.inboundTags));
    const argv = command.argv.map((argument) =>
      argument === JSON.stringify(command.resource) ? JSON.stringify(resource) : argument,
    );
    const kumaDp = disposables.use(new ManagedProcess({ command: command.command, argv, env: command.env }));
    const peer = new RealPeer(world, {
      service,
      port,
      command,
      process: kumaDp,
      disposables: disposables.move(),
    });
    await waitUntil(
      async () => {
        if (!kumaDp.running) throw new Error(kumaDp.stderr.slice(-2_000));
        return (await peer.#admin('/listeners')).includes(`:${port}`);
      },
      { what: `the peer's outbound to ${service}`, budgetMs: 60_000, pollMs: 50 },
    );
    return peer;
  }

  /** kuma-dp's. */
  get pid(): number {
    return this.#process.pid;
  }

  async endpoints(): Promise<readonly string[]> {
    const kri = `kri_msvc_default_z1__${this.#service}_${SERVICE_PORT}`;
    const body = await this.#admin('/clusters?format=json');
    return endpointsIn(body, (name) => name === this.#service || name === kri).toSorted((a, b) =>
      a < b ? -1 : 1,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#disposables.disposeAsync();
  }

  async #admin(path: string): Promise<string> {
    const { adminSocket: socket, adminPort: port } = this.#command;
    const { body } = await callAdmin(this.#behaviour.adminSocket ? { socket } : { port }, 'GET', path);
    return body;
  }
}

function outboundTo(service: string, port: number, byTag: boolean): Readonly<Record<string, unknown>> {
  return byTag
    ? { port, tags: { 'kuma.io/service': service } }
    : { port, backendRef: { kind: 'MeshService', name: service, port: SERVICE_PORT } };
}

function withOutbound(
  resource: DataplaneCommand['resource'],
  outbound: Readonly<Record<string, unknown>>,
): DataplaneCommand['resource'] {
  const networking = resource['networking'] as Readonly<Record<string, unknown>>;
  return { ...resource, networking: { ...networking, outbound: [outbound] } };
}

/** Kuma 3 routes to MeshServices only. This one offers the inbounds of every dataplane with the label, whatever their port. */
async function putService(world: KumaWorld, service: string): Promise<void> {
  const body = {
    type: 'MeshService',
    mesh: 'default',
    name: service,
    labels: { 'kuma.io/origin': 'zone' },
    spec: {
      selector: { dataplaneLabels: { matchLabels: { app: service } } },
      ports: [{ name: 'main', port: SERVICE_PORT, targetPort: 'main', appProtocol: 'http' }],
    },
  };
  const response = await fetch(`${world.restUrl}/meshes/default/meshservices/${service}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`Cannot put MeshService: ${response.status} ${await response.text()}`);
}
