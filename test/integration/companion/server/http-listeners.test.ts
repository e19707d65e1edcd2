import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';

import { Registry } from 'prom-client';
import { describe, expect, test } from 'vitest';

import { VERSION } from '../../../../kernel/version.ts';
import {
  liveRoute,
  metricsRoute,
  readyRoute,
  startHttpListeners,
  type HttpRoute,
} from '../../../../program/http-listeners.ts';
import { createMetrics } from '../../../../control-plane/server/metrics.io.ts';
import { totalsOf, type RecordTotals } from '../../../../control-plane/record-totals.pure.ts';
import { parseListenerAddress } from '../../../../kernel/listener-address.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { TemporaryDir } from '../../../support/world/temporary-dir.ts';
import { waitUntil } from '../../../support/world/wait-until.ts';

interface World extends AsyncDisposable {
  readonly errors: readonly string[];
  /** Waits for the whole answer. */
  get(
    path: string,
    method?: string,
  ): Promise<{ readonly status: number; readonly body: string; readonly headers: Headers }>;
  dial(): Promise<Socket>;
}

async function start(routes: readonly HttpRoute[]): Promise<World> {
  const errors: string[] = [];
  const sockets: Socket[] = [];
  const listeners = await startHttpListeners({
    address: { kind: 'tcp', host: '127.0.0.1', port: 0 },
    ownNamesOnly: true,
    routes,
    onError: (path, err) => {
      errors.push(`${path}: ${String(err)}`);
    },
  });
  const { hostname, port } = new URL(`tcp://${listeners.address}`);
  return {
    errors,
    get: async (path, method = 'GET') => {
      const response = await fetch(`http://${listeners.address}${path}`, { method });
      return { status: response.status, body: await response.text(), headers: response.headers };
    },
    dial: async () => {
      const socket = connect(Number(port), hostname);
      socket.on('error', () => undefined);
      sockets.push(socket);
      await once(socket, 'connect');
      return socket;
    },
    [Symbol.asyncDispose]: async () => {
      await listeners.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

const TOTALS = totalsOf([
  { mesh: 'default', state: 'attached', guard: 'brake', count: 3, oldestSinceMs: 1 },
  { mesh: 'default', state: 'lost', guard: 'probation', count: 1, oldestSinceMs: 1_800_000_009_000 },
  { mesh: 'a "quoted" mesh', state: 'lost', guard: 'brake', count: 4, oldestSinceMs: 1_800_000_000_500 },
]);

/** A line that a Prometheus server accepts, and nothing else. */
const LINE =
  /^(?:# (?:HELP|TYPE) [a-z_]+ .+|[a-z_]+(?:\{[a-z_]+="[^"\n]*"(?:,[a-z_]+="[^"\n]*")*\})? (?:-?\d+(?:\.\d+)?(?:e[+-]\d+)?|\+Inf))$/;

describe('the HTTP listeners', () => {
  test('report that the process lives', async () => {
    await using world = await start([liveRoute()]);
    const { status, body, headers } = await world.get('/livez?verbose');
    expect({ status, body, type: headers.get('content-type') }).toEqual({
      status: 200,
      body: '{"live":true}\n',
      type: 'application/json',
    });
  });

  test.for([
    { when: 'nothing is in the way', reasons: () => [], status: 200, told: [] },
    {
      when: 'the store is away',
      reasons: () => ['The store does not answer'],
      status: 503,
      told: ['The store does not answer'],
    },
    {
      when: 'it cannot be found out',
      reasons: () => {
        throw new Error('No such table');
      },
      status: 503,
      told: ['No such table'],
    },
  ])('report whether it is ready when $when', async ({ reasons, status, told }) => {
    // oxlint-disable-next-line typescript/require-await -- one of them throws
    await using world = await start([readyRoute(new FakeClock(), async () => reasons())]);
    const answer = await world.get('/readyz');
    expect(answer.status).toBe(status);
    expect(JSON.parse(answer.body)).toEqual({ ready: status === 200, reasons: told });
  });

  test('limit the wait for readiness', async () => {
    const clock = new FakeClock();
    const asked = Promise.withResolvers<void>();
    await using world = await start([
      readyRoute(clock, () => {
        asked.resolve();
        return new Promise(() => undefined);
      }),
    ]);
    const answer = world.get('/readyz');
    await asked.promise;
    await clock.pass(3_000);
    expect(JSON.parse((await answer).body)).toEqual({
      ready: false,
      reasons: ['Cannot find out whether it is ready within 3000 ms'],
    });
    expect(clock.armed).toBe(0);
  });

  test('give the metrics as Prometheus reads them', async () => {
    const registry = new Registry();
    const metrics = createMetrics(registry);
    metrics.records(TOTALS);
    metrics.unrecorded(6);
    metrics.departed('requested', 'already gone');
    metrics.guardRefused('subscription-online', 'fallback');
    metrics.retried();
    metrics.healed();
    metrics.tokenRejected('unauthenticated');
    metrics.storeAnswered('attach', 3);
    metrics.storeUp(true);
    metrics.controlPlaneUp('http://127.0.0.1:5681', false);
    metrics.connections({ authenticated: 7, unauthenticated: 1 });
    metrics.connectionRefused('first-call');
    metrics.handshakeFailed();
    metrics.deregistered(250);
    metrics.certificateExpires(1_800_000_000_000);
    await using world = await start([metricsRoute(registry)]);
    const { status, body, headers } = await world.get('/metrics');
    expect([status, headers.get('content-type')]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8']);
    const lines = body.split('\n').filter((line) => line !== '');
    expect(lines.filter((line) => !LINE.test(line.replaceAll('\\"', "'")))).toEqual([]);
    expect(lines.filter((line) => !/^#|_bucket| 0$/.test(line))).toEqual([
      `kuma_deregistrar_build_info{version="${VERSION}"} 1`,
      'kuma_deregistrar_dataplanes{state="attached"} 3',
      'kuma_deregistrar_dataplanes{state="lost"} 5',
      'kuma_deregistrar_departures_held{guard="probation"} 1',
      'kuma_deregistrar_departures_held{guard="brake"} 4',
      'kuma_deregistrar_brake_held{mesh="a \\"quoted\\" mesh"} 4',
      'kuma_deregistrar_departure_oldest_timestamp_seconds{state="lost"} 1800000000.5',
      'kuma_deregistrar_departures_unrecorded 6',
      'kuma_deregistrar_healed_total 1',
      'kuma_deregistrar_deletions_total{cause="requested",result="already_gone"} 1',
      'kuma_deregistrar_guard_refusals_total{guard="subscription-online",cause="fallback"} 1',
      'kuma_deregistrar_retries_total 1',
      'kuma_deregistrar_deregister_seconds_sum 0.25',
      'kuma_deregistrar_deregister_seconds_count 1',
      'kuma_deregistrar_store_up 1',
      'kuma_deregistrar_store_seconds_sum{operation="attach"} 0.003',
      'kuma_deregistrar_store_seconds_count{operation="attach"} 1',
      'kuma_deregistrar_connections{state="authenticated"} 7',
      'kuma_deregistrar_connections{state="unauthenticated"} 1',
      'kuma_deregistrar_connections_refused_total{limit="first-call"} 1',
      'kuma_deregistrar_handshakes_failed_total 1',
      'kuma_deregistrar_tokens_rejected_total{reason="unauthenticated"} 1',
      'kuma_deregistrar_certificate_expiry_timestamp_seconds 1800000000',
    ]);
    expect(lines).toContain('kuma_deregistrar_deregister_seconds_bucket{le="0.25"} 1');
    expect(lines).toContain('kuma_deregistrar_control_plane_up{url="http://127.0.0.1:5681"} 0');
    expect(lines).toContain('kuma_deregistrar_deletions_total{cause="sweep",result="refused"} 0');
    expect(lines).toContain('kuma_deregistrar_connections_refused_total{limit="connections"} 0');
  });

  test('update the gauges for each scrape, and show none rather than old ones', async () => {
    const registry = new Registry();
    const metrics = createMetrics(registry);
    let totals: RecordTotals | undefined = TOTALS;
    await using world = await start([
      metricsRoute(registry, () => {
        metrics.records(totals);
        return Promise.resolve();
      }),
    ]);
    const shown = async (): Promise<readonly string[]> =>
      (await world.get('/metrics')).body
        .split('\n')
        .filter((line) => /^kuma_deregistrar_(dataplanes|departure|brake|certificate)/.test(line));
    expect(await shown()).toContain('kuma_deregistrar_brake_held{mesh="a \\"quoted\\" mesh"} 4');
    totals = totalsOf([]);
    expect((await shown()).filter((line) => !line.endsWith(' 0'))).toEqual([]);
    totals = undefined;
    expect(await shown(), 'in plain text there is no certificate either').toEqual([
      'kuma_deregistrar_departures_unrecorded 0',
    ]);
  });

  test('answer HEAD without a body, and nothing but GET and HEAD', async () => {
    await using world = await start([liveRoute()]);
    expect(await world.get('/livez', 'HEAD')).toMatchObject({ status: 200, body: '' });
    const { status, headers } = await world.get('/livez', 'DELETE');
    expect([status, headers.get('allow')]).toEqual([405, 'GET, HEAD']);
  });

  test.for(['/', '/livez/', '/metricsx', '//livez', '/%6Civez'])('know no page %s', async (path) => {
    await using world = await start([liveRoute()]);
    expect(await world.get(path)).toMatchObject({
      status: 404,
      body: '{"error":"Not found","paths":["/livez"]}\n',
    });
  });

  test('do not show the error of a page to a client', async () => {
    const broken: HttpRoute = {
      path: '/broken',
      serve: () => {
        throw new Error('secret');
      },
    };
    await using world = await start([broken]);
    expect(await world.get('/broken')).toMatchObject({ status: 500, body: '{"error":"Internal error"}\n' });
    expect(world.errors).toEqual(['/broken: Error: secret']);
  });

  test('serve a page that sends data without end', async () => {
    const events: HttpRoute = {
      path: '/events',
      serve: (_request, response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.write('data: 1\n\n');
      },
    };
    const world = await start([events]);
    const socket = await world.dial();
    socket.write('GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n');
    const [bytes] = (await once(socket, 'data')) as [Buffer];
    expect(bytes.toString()).toContain('data: 1');
    const closed = once(socket, 'close');
    await world[Symbol.asyncDispose]();
    await closed;
  });

  test('cut a client that does not finish its request, and serve others meanwhile', async () => {
    await using world = await start([liveRoute()]);
    const socket = await world.dial();
    socket.write('GET /livez HTTP/1.1\r\nhost: ');
    socket.resume();
    const closed = once(socket, 'close');
    expect(await world.get('/livez')).toMatchObject({ status: 200 });
    await closed;
  });

  test('cut off a client with too many requests at once, and send it no more answers', async () => {
    await using world = await start([liveRoute()]);
    const socket = await world.dial();
    let received = '';
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString();
    });
    const closed = once(socket, 'close');
    socket.write('GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n'.repeat(1_000));
    await closed;
    expect(received.split('HTTP/1.1 200').length - 1).toBeLessThanOrEqual(8);
    expect(received).not.toContain('503');
    expect(await world.get('/livez')).toMatchObject({ status: 200 });
  });

  test('refuse headers of 16 KB', async () => {
    await using world = await start([liveRoute()]);
    const socket = await world.dial();
    socket.write(`GET /livez HTTP/1.1\r\nhost: x\r\nx: ${'x'.repeat(16_384)}\r\n\r\n`);
    const [bytes] = (await once(socket, 'data')) as [Buffer];
    expect(bytes.toString()).toMatch(/^HTTP\/1\.1 431 /);
  });

  test('also serve on a Unix socket, for its owner only, and remove it afterwards', async () => {
    using dir = new TemporaryDir();
    const path = dir.join('listeners.sock');
    const listeners = await startHttpListeners({
      address: parseListenerAddress(`unix:${path}`),
      ownNamesOnly: true,
      routes: [liveRoute()],
      onError: () => undefined,
    });
    const request = get({ socketPath: path, path: '/livez', headers: { host: 'any.example' } });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    response.resume();
    expect({
      address: listeners.address,
      mode: statSync(path).mode & 0o777,
      status: response.statusCode,
    }).toEqual({ address: `unix:${path}`, mode: 0o600, status: 200 });
    await listeners.close();
    expect(existsSync(path)).toBe(false);
  });

  test.for([
    ['localhost:5691', 200],
    ['LocalHost', 200],
    ['127.0.0.1:5691', 200],
    ['[::1]:5691', 200],
    ['192.0.2.7', 200],
    ['evil.example:5691', 403],
    ['127.0.0.1.evil.example', 403],
    ['localhost.evil.example', 403],
    ['', 403],
  ] as const)('answer a foreign site without data: "%s" gets %i', async ([host, status]) => {
    await using world = await start([liveRoute()]);
    for (const path of ['/livez', '/nothing']) {
      const socket = await world.dial();
      socket.write(`GET ${path} HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`);
      const [bytes] = (await once(socket, 'data')) as [Buffer];
      const expected = status === 200 && path === '/nothing' ? 404 : status;
      expect(bytes.toString().split(' ', 2)[1]).toBe(String(expected));
    }
  });

  test('answer a probe of HTTP/1.0, which names no host', async () => {
    await using world = await start([liveRoute()]);
    const socket = await world.dial();
    socket.write('GET /livez HTTP/1.0\r\n\r\n');
    const [bytes] = (await once(socket, 'data')) as [Buffer];
    expect(bytes.toString().split(' ', 2)[1]).toBe('200');
  });

  test('answer a probe beside any number of silent connections; a connection with a request stays', async () => {
    const over = Promise.withResolvers<undefined>();
    const slow: HttpRoute = {
      path: '/slow',
      serve: async (_request, response) => {
        await over.promise;
        response.end('slow');
      },
    };
    await using world = await start([liveRoute(), slow]);
    const first = world.get('/slow');
    const silent: Socket[] = [];
    for (let at = 0; at < 300; at += 1) silent.push((await world.dial()).on('error', () => {}).resume());
    for (let probe = 0; probe < 20; probe += 1) {
      expect((await world.get('/livez')).status).toBe(200);
      silent.push((await world.dial()).on('error', () => {}).resume());
    }
    await waitUntil(() => silent[0]?.destroyed === true || silent[0]?.closed === true, {
      what: 'the oldest to go',
    });
    over.resolve(undefined);
    expect((await first).body).toBe('slow');
  });

  test('report a taken port', async () => {
    await using world = await start([liveRoute()]);
    const { remotePort = 0 } = await world.dial();
    const again = startHttpListeners({
      address: { kind: 'tcp', host: '127.0.0.1', port: remotePort },
      ownNamesOnly: true,
      routes: [],
      onError: () => undefined,
    });
    await expect(again).rejects.toThrow(expect.objectContaining({ code: 'LISTENER_FAILED' }));
  });
});
