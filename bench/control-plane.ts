/**
 * A control plane with one dataplane that never goes away, in a process of its own: answers as Kuma 2.14.3 was
 * recorded to, over HTTP and HTTPS, and tells its parent when a DELETE arrives.
 */
import { readFileSync } from 'node:fs';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

import { recordedAnswer } from '../test/support/kuma/recorded.ts';

const TLS = join(import.meta.dirname, '..', 'test', 'fixtures', 'tls');

/** What this process sends to its parent. */
export type ControlPlaneMessage =
  | { readonly ports: { readonly http: number; readonly https: number } }
  /** Nanoseconds of the host's monotonic clock, which all its processes share. */
  | { readonly deletedAtNs: string };

function recorded(name: string): string {
  return JSON.stringify(recordedAnswer('2.14.3', name).body);
}

const ANSWERS: Readonly<Record<string, string>> = {
  '/': recorded('index'),
  '/config': recorded('config'),
  '/meshes/default/dataplanes/b1': recorded('dataplane'),
  '/meshes/default/dataplanes/b1/_overview': recorded('overview-online'),
};

function answer({ method, url = '' }: IncomingMessage, response: ServerResponse): void {
  // First of all: the rest is not part of the measurement.
  const nowNs = process.hrtime.bigint();
  if (method === 'DELETE') tell({ deletedAtNs: String(nowNs) });
  const body = method === 'DELETE' ? '{}' : ANSWERS[url];
  response.writeHead(body === undefined ? 404 : 200, { 'content-type': 'application/json' });
  response.end(body);
}

function tell(message: ControlPlaneMessage): void {
  process.send?.(message);
}

const servers = {
  http: http.createServer(answer),
  https: https.createServer(
    { cert: readFileSync(join(TLS, 'server.crt')), key: readFileSync(join(TLS, 'server.key')) },
    answer,
  ),
};
const ports = await Promise.all(
  [servers.http, servers.https].map(async (server) => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return (server.address() as AddressInfo).port;
  }),
);
tell({ ports: { http: ports[0] ?? 0, https: ports[1] ?? 0 } });
process.once('disconnect', () => process.exit());
