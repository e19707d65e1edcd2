import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';

import { type BootstrapAnswer } from '../bootstrap-protocol.ts';
import { callAdmin } from './admin-client.ts';

/**
 * kuma-dp's `/ready`. With an admin socket it passes on what Envoy's own `/ready` says.
 *
 * @see kuma v2.14.3 app/kuma-dp/pkg/dataplane/readiness/component.go
 */
export class ReadinessReporter {
  readonly #server: Server;
  readonly #admin: BootstrapAnswer['admin'];
  #terminating = false;

  constructor(admin: BootstrapAnswer['admin']) {
    this.#admin = admin;
    this.#server = createServer((request, response) => {
      if (request.url?.split('?')[0] !== '/ready') {
        response.writeHead(404).end('404 page not found\n');
        return;
      }
      void this.#answer(response);
    });
  }

  /** @throws Error if the port is taken: two kuma-dp on a host need two ports */
  async listen(port: number): Promise<void> {
    this.#server.listen(port, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  terminating(): void {
    this.#terminating = true;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #answer(response: ServerResponse): Promise<void> {
    if (this.#terminating) {
      write(response, 503, 'TERMINATING');
    } else if ('socket' in this.#admin) {
      const { status, body } = await callAdmin(this.#admin, 'GET', '/ready').catch(() => ({
        status: 503,
        body: 'envoy not ready\n',
      }));
      write(response, status, body);
    } else {
      write(response, 200, 'READY');
    }
  }
}

function write(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, {
    'content-type': 'text/plain',
    'cache-control': 'no-cache, max-age=0',
    'x-powered-by': 'kuma-dp',
  });
  response.end(body);
}
