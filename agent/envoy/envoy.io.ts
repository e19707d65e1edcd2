import { lstatSync, statSync } from 'node:fs';
import { Agent } from 'node:http';
import process from 'node:process';

import got from 'got';
import { parse } from 'yaml';
import * as z from 'zod/mini';

import type { Clock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import { describeError, OperationalError } from '../../kernel/errors.ts';
import { isLoopback } from '../../kernel/listener-address.ts';
import { readRegularFile } from '../../program/regular-file.ts';
import { commandLineOf, startedProcesses } from '../child/process-tree.io.ts';
import { pathSeenBy } from '../child/process-view.io.ts';
import type { EnvoyAdmin, EnvoyFinder, EnvoyLookup } from '../ports.ts';

/** Envoy answers from its main thread at once; longer means that it hangs. */
const ADMIN_BUDGET_MS = 1_000;
/** Far more than ten thousand listeners need. */
const MOST_ANSWER_BYTES = 64 * 1024 * 1024;
const MOST_BOOTSTRAP_BYTES = 16 * 1024 * 1024;

type AdminAddress = { readonly socketPath: string } | { readonly host: string; readonly port: number };

/**
 * Finds the Envoy below kuma-dp by its own command line, and its admin interface in the bootstrap that this names: a
 * Unix socket in kuma-dp's work directory from 2.14 on, TCP before.
 *
 * @see kuma pkg/dataplane/envoy/envoy.go: `--config-path <workdir>/bootstrap.yaml`
 */
export function envoyFinder(clock: Clock): EnvoyFinder {
  return {
    async find(kumaDpPid): Promise<EnvoyLookup> {
      let envoy: { readonly pid: number; readonly bootstrap: string } | undefined;
      try {
        envoy = findEnvoy(kumaDpPid);
      } catch (error) {
        return { hidden: `the processes below kuma-dp cannot be listed: ${describeError(error)}` };
      }
      if (envoy === undefined) return 'absent';
      const { pid, bootstrap } = envoy;
      try {
        const address = readAdminAddress(await readBootstrap(pathSeenBy(pid, bootstrap)));
        if (address === undefined)
          return { hidden: `Envoy's bootstrap names no admin address: ${bootstrap}`, mayPass: true };
        const reached =
          'socketPath' in address ? { socketPath: pathSeenBy(pid, address.socketPath) } : address;
        const refusal = refusalOf(reached, pid);
        if (refusal !== undefined) return { hidden: refusal };
        return { admin: envoyAdmin(reached, clock) };
      } catch (error) {
        return { hidden: `Envoy's bootstrap cannot be read: ${describeError(error)}`, mayPass: true };
      }
    },
  };
}

/** Its user may be less privileged than the agent and has chosen the path, so no link is followed. */
async function readBootstrap(path: string): Promise<string> {
  const bytes = await readRegularFile(path, { mostBytes: MOST_BOOTSTRAP_BYTES, noLink: true });
  return bytes.toString('utf8');
}

/**
 * The reason why an agent of another user does not ask this admin: Envoy's user chose the address, and the agent may
 * reach what that user may not. `undefined` if it asks.
 */
function refusalOf(address: AdminAddress, pid: number): string | undefined {
  const { uid } = statSync(`/proc/${pid}`);
  if (uid === process.getuid?.()) return undefined;
  if ('host' in address)
    return isLoopback(address.host) || UNSPECIFIED.has(address.host)
      ? undefined
      : `Envoy's admin is at another host, and Envoy is another user's: ${address.host}`;
  const socket = lstatSync(address.socketPath);
  return socket.isSocket() && socket.uid === uid
    ? undefined
    : `Envoy's admin socket is not a socket of Envoy's user: ${address.socketPath}`;
}

const UNSPECIFIED: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

/** @throws if this user cannot look */
function findEnvoy(root: number): { readonly pid: number; readonly bootstrap: string } | undefined {
  for (const pid of startedProcesses(root)) {
    const argv = commandLineOf(pid);
    const flag = pid === root || pid === process.pid ? -1 : argv.indexOf('--config-path');
    const bootstrap = flag === -1 ? undefined : argv[flag + 1];
    if (bootstrap !== undefined) return { pid, bootstrap };
  }
  return undefined;
}

/** Protobuf's JSON names and the proto names are both valid in a bootstrap. */
const Bootstrap = z.object({
  admin: z.object({
    address: z.union([
      z.object({ pipe: z.object({ path: z.string() }) }),
      z.object({ socketAddress: z.object({ address: z.string(), portValue: z.number() }) }),
      z.object({ socket_address: z.object({ address: z.string(), port_value: z.number() }) }),
    ]),
  }),
});

function readAdminAddress(bootstrap: string): AdminAddress | undefined {
  const parsed = Bootstrap.safeParse(parsedYaml(adminPart(bootstrap)));
  if (!parsed.success) return undefined;
  const { address } = parsed.data.admin;
  if ('pipe' in address) return { socketPath: address.pipe.path };
  if ('socketAddress' in address)
    return { host: address.socketAddress.address, port: address.socketAddress.portValue };
  return { host: address.socket_address.address, port: address.socket_address.port_value };
}

/** No message quotes text that is not YAML: Envoy's user may have named any file. */
function parsedYaml(text: string): unknown {
  try {
    return parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/**
 * The `admin:` block alone, because parsing a whole bootstrap costs an idle agent 5 MB; everything if there is no such
 * block, as in JSON.
 */
function adminPart(bootstrap: string): string {
  return /^admin:.*(?:\n(?:[ \t#].*)?)*/m.exec(bootstrap)?.[0] ?? bootstrap;
}

function envoyAdmin(address: AdminAddress, clock: Clock): EnvoyAdmin {
  const agent = new Agent({ keepAlive: true, maxSockets: 2, ...('socketPath' in address ? address : {}) });
  const client = got.extend({
    prefixUrl:
      'socketPath' in address ? 'http://localhost' : `http://${bracketed(address.host)}:${address.port}`,
    agent: { http: agent },
    retry: { limit: 0 },
    followRedirect: false,
    decompress: false,
  });
  const get = (path: string): Promise<string> =>
    withDeadline({ clock, action: "ask Envoy's admin", budgetMs: ADMIN_BUDGET_MS }, ({ signal }) =>
      textWithin(client.stream.get(path, { signal })),
    );
  return {
    stats: (filter) => get(`stats?usedonly&filter=${encodeURIComponent(filter)}`),
    listeners: async () => JSON.parse(await get('listeners?format=json')) as unknown,
    listenerConfig: async () => JSON.parse(await get('config_dump?resource=dynamic_listeners')) as unknown,
    healthcheck: async (say) => {
      await withDeadline({ clock, action: "tell Envoy's admin", budgetMs: ADMIN_BUDGET_MS }, ({ signal }) =>
        textWithin(ended(client.stream.post(`healthcheck/${say}`, { signal }))),
      );
    },
    close: () => {
      agent.destroy();
    },
  };
}

/** A request without a body. */
function ended<Request extends { end(): unknown }>(request: Request): Request {
  request.end();
  return request;
}

/** @throws `ANSWER_UNREADABLE` for an answer without an end */
async function textWithin(answer: AsyncIterable<Buffer> & { destroy(): unknown }): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer) {
    bytes += chunk.length;
    if (bytes > MOST_ANSWER_BYTES) {
      answer.destroy();
      throw new OperationalError(
        'ANSWER_UNREADABLE',
        "Cannot read the answer of Envoy's admin: it has no end",
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
