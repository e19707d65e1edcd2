import { once } from 'node:events';
import { request, type IncomingMessage, type RequestOptions } from 'node:http';
import { text } from 'node:stream/consumers';

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

/** One request to loopback or a socket, on a connection of its own. @throws Error without an answer in `timeout` ms */
export async function httpCall(options: RequestOptions, body?: string): Promise<HttpAnswer> {
  const asked = request({ host: '127.0.0.1', ...options, agent: false });
  asked.on('timeout', () => {
    const { method = 'GET', path = '/', timeout } = options;
    asked.destroy(new Error(`${method} ${path}: no answer within ${timeout} ms`));
  });
  // A connection that breaks after the response began fails its body.
  asked.on('error', () => {});
  asked.end(body);
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  return { status: response.statusCode ?? 0, body: await text(response) };
}
