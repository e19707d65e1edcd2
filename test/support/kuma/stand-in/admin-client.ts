import { httpCall, type HttpAnswer } from '../../world/http-call.ts';
import { type BootstrapAnswer } from '../bootstrap-protocol.ts';

/** Calls Envoy's admin API over its socket or port. */
export function callAdmin(
  admin: BootstrapAnswer['admin'],
  method: 'GET' | 'POST',
  path: string,
): Promise<HttpAnswer> {
  const place = 'socket' in admin ? { socketPath: admin.socket } : { port: admin.port };
  return httpCall({ ...place, method, path, timeout: 10_000 });
}

/** @throws Error if the answer is not 200 */
export async function postAdmin(admin: BootstrapAnswer['admin'], path: string): Promise<void> {
  const { status } = await callAdmin(admin, 'POST', path);
  if (status !== 200) throw new Error(`expected 200 status code, got ${status}`);
}
