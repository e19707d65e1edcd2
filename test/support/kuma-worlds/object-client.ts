import { urlToHttpOptions } from 'node:url';

import { isOnline, readOverview, type DataplaneOverview } from '../../../kuma/overview.ts';
import { type DataplaneCommand } from '../world/dataplane-command.ts';
import { httpCall } from '../world/http-call.ts';
import { waitUntil } from '../world/wait-until.ts';

const TIMEOUT_MS = 10_000;

export interface RestReply {
  readonly status: number;
  /** Parsed JSON, or `undefined` where there is none. */
  readonly body: unknown;
}

export interface RestCall {
  readonly method?: string;
  readonly body?: unknown;
  readonly authorization?: string;
}

/** Asks a control plane's REST API over plain HTTP, on a new connection: control planes come and go. */
async function callRest(restUrl: string, path: string, call: RestCall = {}): Promise<RestReply> {
  const { method = 'GET', body, authorization } = call;
  const headers = {
    'content-type': 'application/json',
    ...(authorization === undefined ? {} : { authorization }),
  };
  const place = urlToHttpOptions(new URL(`${restUrl}${path}`));
  const sent = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
  const answer = await httpCall({ ...place, method, headers, timeout: TIMEOUT_MS }, sent);
  return { status: answer.status, body: answer.body === '' ? undefined : parse(answer.body) };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The Dataplane objects of the mesh `default`, over REST. */
export class ObjectClient {
  readonly #restUrl: string;

  constructor(restUrl: string) {
    this.#restUrl = restUrl;
  }

  call(path: string, call?: RestCall): Promise<RestReply> {
    return callRest(this.#restUrl, path, call);
  }

  get(name: string): Promise<RestReply> {
    return this.call(pathOf(name));
  }

  put(resource: DataplaneCommand['resource']): Promise<RestReply> {
    return this.call(pathOf(String(resource['name'])), { method: 'PUT', body: resource });
  }

  delete(name: string): Promise<RestReply> {
    return this.call(pathOf(name), { method: 'DELETE' });
  }

  async exists(name: string): Promise<boolean> {
    const { status } = await this.get(name);
    if (status !== 200 && status !== 404) throw new Error(`GET ${name}: ${status}`);
    return status === 200;
  }

  async overview(name: string): Promise<DataplaneOverview | undefined> {
    const { status, body } = await this.call(`${pathOf(name)}/_overview`);
    return status === 200 ? readOverview(body) : undefined;
  }

  async online(name: string): Promise<boolean> {
    return (await this.overview(name))?.subscriptions.some(isOnline) === true;
  }

  /** @returns `performance.now()` of the look that found it so */
  untilThere(name: string, budgetMs = 60_000): Promise<number> {
    return waitUntil(async () => (await this.exists(name)) && performance.now(), {
      what: `object ${name} to be there`,
      budgetMs,
    });
  }

  /** @returns `performance.now()` of the look that found it so */
  untilGone(name: string, budgetMs = 60_000): Promise<number> {
    return waitUntil(async () => !(await this.exists(name)) && performance.now(), {
      what: `object ${name} to be gone`,
      budgetMs,
    });
  }

  async untilOnline(name: string, budgetMs = 60_000): Promise<void> {
    await waitUntil(() => this.online(name), { what: `dataplane ${name} to be online`, budgetMs });
  }

  async untilOffline(name: string, budgetMs = 60_000): Promise<void> {
    await waitUntil(async () => !(await this.online(name)), {
      what: `dataplane ${name} to be offline`,
      budgetMs,
    });
  }
}

function pathOf(name: string): string {
  return `/meshes/default/dataplanes/${name}`;
}
