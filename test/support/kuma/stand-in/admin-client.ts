import { request } from 'node:http';

import { type BootstrapAnswer } from '../bootstrap-protocol.ts';

export interface AdminAnswer {
  readonly status: number;
  readonly body: string;
}

const TIMEOUT_MS = 10_000;

/** Calls Envoy's admin API over its socket or port. */
export function callAdmin(
  admin: BootstrapAnswer['admin'],
  method: 'GET' | 'POST',
  path: string,
): Promise<AdminAnswer> {
  const place = 'socket' in admin ? { socketPath: admin.socket } : { host: '127.0.0.1', port: admin.port };
  return new Promise((resolve, reject) => {
    const call = request({ ...place, method, path, agent: false, timeout: TIMEOUT_MS }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (body += chunk));
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, body });
      });
      response.on('error', reject);
    });
    call.on('timeout', () => {
      call.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`));
    });
    call.on('error', reject);
    call.end();
  });
}

/** @throws Error if the answer is not 200 */
export async function postAdmin(admin: BootstrapAnswer['admin'], path: string): Promise<void> {
  const { status } = await callAdmin(admin, 'POST', path);
  if (status !== 200) throw new Error(`expected 200 status code, got ${status}`);
}
