import { Agent, request, type RequestOptions } from 'node:http';

import { dataplane } from './bench-agent.ts';

/** Deletes at the same control plane without a companion in between, as fast as Node's own client can. */
export class DirectDeletes {
  readonly #url: URL;
  readonly #agent: Agent;

  constructor(url: string, connections: number) {
    this.#url = new URL(url);
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections });
  }

  async put(name: string): Promise<void> {
    await this.#send('PUT', name, JSON.stringify(dataplane(name)));
  }

  async delete(name: string): Promise<void> {
    await this.#send('DELETE', name);
  }

  /** Resolves when no object is left whose name begins in this way. */
  async untilGone(prefix: string): Promise<void> {
    for (;;) {
      const left = await this.#get(`/meshes/default/dataplanes?name=${prefix}&size=1`);
      if ((JSON.parse(left) as { readonly total: number }).total === 0) return;
    }
  }

  #get(path: string): Promise<string> {
    return this.#exchange({ method: 'GET', path });
  }

  #send(method: string, name: string, body?: string): Promise<string> {
    return this.#exchange({ method, path: `/meshes/default/dataplanes/${name}` }, body);
  }

  #exchange(options: RequestOptions, body?: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const sent = request(
        this.#url,
        { ...options, agent: this.#agent, headers: { 'content-type': 'application/json' } },
        (response) => {
          let text = '';
          response.setEncoding('utf8');
          response.on('data', (chunk: string) => {
            text += chunk;
          });
          response.on('end', () => {
            if ((response.statusCode ?? 0) < 300) resolve(text);
            else
              reject(
                new Error(
                  `${options.method ?? ''} ${options.path ?? ''}: ${response.statusCode ?? 0} ${text}`,
                ),
              );
          });
        },
      );
      sent.on('error', reject);
      sent.end(body);
    });
  }
}
