import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { HttpListeners } from '../../../../program/http-listeners.ts';
import { withToken } from '../../../../program/http-gate.ts';
import type { FleetSnapshot } from '../../../../control-plane/page/fleet-view.pure.ts';
import { EventReader } from '../../../support/event-reader.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import {
  mixedFleet,
  PAGE_HTML,
  row,
  rows,
  ScriptedFleet,
  serveFleet,
} from '../../../support/scripted-fleet.ts';
import { waitUntil } from '../../../support/world/wait-until.ts';

const TOKEN = 'a-token-of-more-than-16';

let stack: AsyncDisposableStack;
let clock: FakeClock;

beforeEach(() => {
  stack = new AsyncDisposableStack();
  clock = new FakeClock();
});

afterEach(async () => {
  await stack.disposeAsync();
  await waitUntil(() => clock.armed === 0, { what: 'no timer to be left' });
});

async function serve(fleet: ScriptedFleet, guard?: Parameters<typeof serveFleet>[1]): Promise<HttpListeners> {
  const listeners = await serveFleet(fleet, { clock, ...guard });
  stack.defer(() => listeners.close());
  return listeners;
}

function hash(element: string): string {
  const [, text = ''] = new RegExp(`<${element}>(.*)</${element}>`, 's').exec(PAGE_HTML) ?? [];
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}

async function read(
  listeners: HttpListeners,
  headers: Readonly<Record<string, string>> = {},
): Promise<EventReader> {
  const reader = await EventReader.open(`http://${listeners.address}/fleet/events`, headers);
  stack.use(reader);
  return reader;
}

/** A client that asks for the events, and reads the answer only when a test says so. */
async function dial(listeners: HttpListeners): Promise<Socket> {
  const { hostname, port } = new URL(`tcp://${listeners.address}`);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => undefined);
  stack.defer(() => {
    socket.destroy();
  });
  await once(socket, 'connect');
  socket.pause();
  socket.write('GET /fleet/events HTTP/1.1\r\nhost: localhost\r\n\r\n');
  return socket;
}

describe('the fleet page over HTTP', () => {
  test('is one document, whose policy lets only its own script run', async () => {
    const listeners = await serve(new ScriptedFleet(mixedFleet()));
    const response = await fetch(`http://${listeners.address}/`);
    expect(await response.text()).toBe(PAGE_HTML);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': `default-src 'none'; script-src ${hash('script')}; style-src ${hash('style')}; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
    });
  });

  test('refers to no other host, and has no style or handler outside of its two blocks', () => {
    expect(PAGE_HTML).not.toMatch(/https?:\/\/|\bsrc=|url\(|@import|\sstyle="|\son[a-z]+="/);
  });

  test('is available as JSON', async () => {
    const fleet = new ScriptedFleet(mixedFleet());
    const listeners = await serve(fleet);
    expect(await (await fetch(`http://${listeners.address}/fleet`)).json()).toEqual(fleet.now);
  });

  test('sends everything first, and then only changes', async () => {
    const fleet = new ScriptedFleet(mixedFleet(2));
    const before = fleet.now;
    const reader = await read(await serve(fleet));
    await reader.find('snapshot');
    const [, ...others] = before.dataplanes;
    fleet.become({ dataplanes: [...others, row('default/new', { sinceMs: 1 })] });
    await reader.find('change');
    expect(reader.response.headers.get('content-type')).toBe('text/event-stream');
    expect(reader.events).toEqual([
      { event: 'snapshot', data: before },
      {
        event: 'change',
        data: {
          nowMs: fleet.now.nowMs,
          dataplanes: [row('default/new', { sinceMs: 1 })],
          gone: [before.dataplanes[0]?.id],
        },
      },
    ]);
  });

  test('sends a sign of life every ten seconds', async () => {
    const reader = await read(await serve(new ScriptedFleet(mixedFleet(1))));
    await reader.find('snapshot');
    await clock.pass(30_000);
    await waitUntil(() => reader.events.length === 4, { what: 'three beats' });
    expect(reader.events.map(({ event }) => event)).toEqual(['snapshot', 'beat', 'beat', 'beat']);
  });

  test('looks at the fleet only while the page is open', async () => {
    const fleet = new ScriptedFleet(mixedFleet(1));
    const listeners = await serve(fleet);
    expect(fleet.followers).toBe(0);
    const [one, two] = [await read(listeners), await read(listeners)];
    await Promise.all([one.find('snapshot'), two.find('snapshot')]);
    expect(fleet.followers).toBe(1);
    one[Symbol.dispose]();
    two[Symbol.dispose]();
    await waitUntil(() => fleet.followers === 0, { what: 'no follower' });
    expect((await fetch(`http://${listeners.address}/fleet/events`, { method: 'HEAD' })).status).toBe(200);
    expect(fleet.followers).toBe(0);
  });

  test('serves twenty readers, and tells the next one so', async () => {
    const listeners = await serve(new ScriptedFleet(mixedFleet(1)));
    const readers = await Promise.all(Array.from({ length: 20 }, () => read(listeners)));
    const refused = await fetch(`http://${listeners.address}/fleet/events`);
    expect([refused.status, await refused.json()]).toEqual([
      503,
      { error: 'Too many browsers are connected' },
    ]);
    readers[0]?.[Symbol.dispose]();
    await waitUntil(async () => (await read(listeners)).response.status === 200, { what: 'a free place' });
  });
});

describe('a client that never reads', () => {
  /** Some 700 KB. */
  const MANY: FleetSnapshot = { ...mixedFleet(0), dataplanes: rows(2_500) };
  const ROUNDS = 100;

  /** All of them change. */
  function round(fleet: ScriptedFleet, at: number): void {
    fleet.become({ dataplanes: MANY.dataplanes.map((each) => ({ ...each, epoch: at })) });
  }

  test('costs one event of memory, is cut after ten seconds, and others are served meanwhile', async () => {
    const fleet = new ScriptedFleet(MANY);
    const listeners = await serve(fleet);
    const deaf = await dial(listeners);
    const reader = await read(listeners);
    await reader.find('snapshot');
    const beforeBytes = process.memoryUsage().arrayBuffers;
    reader.events.length = 0;
    for (let at = 0; at < ROUNDS; at += 1) {
      round(fleet, at);
      await waitUntil(() => reader.events.length === 1, { what: `round ${at}` });
      reader.events.length = 0;
    }
    // Queued, it would be 70 MB.
    expect(process.memoryUsage().arrayBuffers - beforeBytes).toBeLessThan(30_000_000);
    expect((await fetch(`http://${listeners.address}/`)).status).toBe(200);
    await clock.pass(10_000);
    reader[Symbol.dispose]();
    // Only one of the two has ended by itself.
    await waitUntil(() => fleet.followers === 0, { what: 'both to be gone' });
    const closed = once(deaf, 'close');
    deaf.resume();
    await closed;
  });

  test('gets the whole state again once it reads, not the missed changes', async () => {
    const fleet = new ScriptedFleet(MANY);
    const slow = await dial(await serve(fleet));
    await waitUntil(() => fleet.followers === 1, { what: 'it to follow' });
    for (let at = 0; at < ROUNDS; at += 1) round(fleet, at);
    let text = '';
    slow.on('data', (bytes) => (text += bytes.toString()));
    slow.resume();
    await waitUntil(() => text.includes(`"epoch":${ROUNDS - 1},`), { what: 'what holds now' });
    const events = [...text.matchAll(/^event: (\w+)$/gm)].map(([, event]) => event);
    expect(events.length).toBeLessThan(ROUNDS / 2);
    expect([events[0], events.at(-1)]).toEqual(['snapshot', 'snapshot']);
    slow.destroy();
  });
});

describe('the page behind a token', () => {
  let listeners: HttpListeners;

  beforeEach(async () => {
    listeners = await serve(new ScriptedFleet(mixedFleet(1)), {
      guard: (route) => withToken(route, () => TOKEN),
    });
  });

  function ask(path: string, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
    return fetch(`http://${listeners.address}${path}`, { headers, redirect: 'manual' });
  }

  test.for<readonly [string, Readonly<Record<string, string>>]>([
    ['no token', {}],
    ['another token', { authorization: 'Bearer another' }],
    ['the beginning of it', { authorization: `Bearer ${TOKEN.slice(0, -1)}` }],
    ['the token by another scheme', { authorization: `Basic ${TOKEN}` }],
    ['a cookie that was not given', { cookie: `kuma_access_00000000=${TOKEN}` }],
    ['a wrong token, whatever the cookie', { authorization: 'Bearer another', cookie: 'kuma_access=x' }],
  ])('%s: nothing is shown', async ([, headers]) => {
    for (const path of ['/', '/fleet', '/fleet/events', '/fleet?token=wrong', '/fleet?token=']) {
      const response = await ask(path, headers);
      expect([response.status, response.headers.get('www-authenticate'), await response.json()]).toEqual([
        401,
        'Bearer',
        { error: 'A token is needed: Authorization: Bearer TOKEN, or ?token=TOKEN in a browser' },
      ]);
    }
  });

  test('a Bearer token opens it', async () => {
    const headers = { authorization: `bearer ${TOKEN}` };
    expect((await ask('/', headers)).status).toBe(200);
    expect((await ask('/fleet', headers)).status).toBe(200);
    const reader = await read(listeners, headers);
    await reader.find('snapshot');
  });

  test('a browser sends it once, and the redirect removes it from the address', async () => {
    const exchanged = await ask(`/?token=${TOKEN}`);
    const cookie = exchanged.headers.get('set-cookie') ?? '';
    expect([exchanged.status, exchanged.headers.get('location')]).toEqual([303, '/']);
    expect(cookie).toMatch(/^kuma_access_[\da-f]{8}=[\da-f]{64}; HttpOnly; SameSite=Lax; Path=\/$/);
    expect(cookie).not.toContain(TOKEN);
    const [pair = ''] = cookie.split(';', 1);
    expect((await ask('/fleet', { cookie: `other=1; ${pair}` })).status).toBe(200);
    const [name = ''] = pair.split('=');
    expect((await ask('/fleet', { cookie: `${name}=${TOKEN}` })).status, 'the token is no value').toBe(401);
  });

  test('a browser distinguishes the tokens of two programs on one host', async () => {
    const another = await serve(new ScriptedFleet(mixedFleet(1)), {
      guard: (route) => withToken(route, () => `${TOKEN}-2`),
    });
    const names = await Promise.all(
      [`http://${listeners.address}/?token=${TOKEN}`, `http://${another.address}/?token=${TOKEN}-2`].map(
        async (url) => (await fetch(url, { redirect: 'manual' })).headers.get('set-cookie')?.split('=')[0],
      ),
    );
    expect(new Set(names).size).toBe(2);
  });

  test('a token in the address of another host leads nowhere else', async () => {
    const { status, headers } = await ask(`//evil.example/?token=${TOKEN}`);
    expect([status, headers.get('location')]).toEqual([404, null]);
  });
});
