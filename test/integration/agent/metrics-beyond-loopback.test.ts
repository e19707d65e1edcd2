import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import { request } from 'node:https';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { ask, Scrape, scrapeWith } from '../../support/scrape.ts';
import { ControlPlane, TLS_FIXTURES } from '../../support/kuma/control-plane.ts';
import { SignalScene } from '../../support/signal-scene.ts';
import { type HttpAnswer } from '../../support/world/http-call.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

const TOKEN = 'a-token-of-the-central-prometheus';

let controlPlane: ControlPlane;

beforeAll(async () => {
  controlPlane = await ControlPlane.start();
});

afterAll(() => controlPlane[Symbol.asyncDispose]());

function open(options: readonly string[]): SignalScene {
  return new SignalScene({ controlPlane, child: { contract: 'obedient' }, options });
}

/** The port of an agent that listens on every address of the host. */
async function portOf(scene: SignalScene): Promise<string> {
  const agent = await scene.start({ cwd: scene.dir.path });
  const served = await agent.waitForEvent('metrics.served');
  return new URL(`http://${String(served['address'])}`).port;
}

async function scrapeByTls(
  port: string,
  headers: OutgoingHttpHeaders,
  caFile = 'ca.crt',
): Promise<HttpAnswer> {
  const ca = readFileSync(join(TLS_FIXTURES, caFile));
  const asked = request({ host: 'localhost', port, path: '/metrics', headers, ca, agent: false });
  asked.end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  return { status: response.statusCode ?? 0, body: await text(response) };
}

describe.concurrent('the metrics of the agent, for a Prometheus elsewhere', () => {
  test('require the token, over plain HTTP', async () => {
    await using scene = open(['--metrics=0.0.0.0:0', '--metrics-token-file=token']);
    writeFileSync(scene.dir.join('token'), `${TOKEN}\n`);
    const port = await portOf(scene);
    const without = await ask(`127.0.0.1:${port}`, 'GET', '/metrics');
    expect(without.status).toBe(401);
    expect(without.body).not.toContain('kuma_dp_agent');
    expect(await scrapeWith(`${TOKEN}x`, `127.0.0.1:${port}`)).toMatchObject({ status: 401 });
    const found = await scrapeWith(TOKEN, `127.0.0.1:${port}`);
    expect(new Scrape(found.body).value('kuma_dp_agent_phase{phase="running"}')).toBe(1);
  });

  test('are served over HTTPS with a certificate, and require the token there too', async () => {
    await using scene = open([
      '--metrics=[::]:0',
      '--metrics-token-file=token',
      '--metrics-cert-file=server.crt',
      '--metrics-key-file=server.key',
    ]);
    writeFileSync(scene.dir.join('token'), TOKEN);
    for (const file of ['server.crt', 'server.key'])
      copyFileSync(join(TLS_FIXTURES, file), scene.dir.join(file));
    const port = await portOf(scene);
    const given = { authorization: `Bearer ${TOKEN}` };
    const answer = await scrapeByTls(port, given);
    expect(answer).toMatchObject({ status: 200 });
    expect(answer.body).toContain('kuma_dp_agent_phase{phase="running"} 1');
    expect(await scrapeByTls(port, {})).toMatchObject({ status: 401 });
    await expect(scrapeByTls(port, given, 'other-ca.crt')).rejects.toThrow(/certificate/);
    await expect(ask(`127.0.0.1:${port}`, 'GET', '/metrics'), 'no plain HTTP').rejects.toThrow(
      /hang up|ECONNRESET/,
    );
  });

  test('are served beside clients that never finish a handshake, whose connections end', async () => {
    await using scene = open([
      '--metrics=127.0.0.1:0',
      '--metrics-cert-file=server.crt',
      '--metrics-key-file=server.key',
    ]);
    for (const file of ['server.crt', 'server.key'])
      copyFileSync(join(TLS_FIXTURES, file), scene.dir.join(file));
    const port = await portOf(scene);
    const silent = Array.from({ length: 150 }, () =>
      connect(Number(port), '127.0.0.1').on('error', () => {}),
    );
    const ended = Promise.all(silent.map((socket) => once(socket, 'close')));
    await Promise.all(silent.map((socket) => once(socket, 'connect')));
    expect(await scrapeByTls(port, {}), 'on loopback no token is needed').toMatchObject({ status: 200 });
    for (const socket of silent) socket.resume();
    await ended;
    expect(await scrapeByTls(port, {})).toMatchObject({ status: 200 });
  });

  test('take another token when its file changes, and keep the last good one while the file is broken', async () => {
    await using scene = open(['--metrics=127.0.0.1:0', '--metrics-token-file=token']);
    const file = scene.dir.join('token');
    writeFileSync(file, TOKEN);
    const agent = await scene.start({ cwd: scene.dir.path });
    const address = String((await agent.waitForEvent('metrics.served'))['address']);
    const status = async (token: string): Promise<number> => (await scrapeWith(token, address)).status;
    expect(await status(TOKEN)).toBe(200);
    writeFileSync(file, 'short');
    await waitUntil(async () => (await status(TOKEN), agent.seen('file.kept').length > 0), {
      what: 'the broken file to be noticed',
    });
    expect(await status(TOKEN)).toBe(200);
    writeFileSync(file, `${TOKEN}-2`);
    await waitUntil(async () => (await status(`${TOKEN}-2`)) === 200, { what: 'the new token' });
    expect(await status(TOKEN)).toBe(401);
    expect(JSON.stringify(agent.events)).not.toContain(TOKEN);
  });

  test.for([
    { what: 'no token file', files: {}, says: 'token' },
    { what: 'a token that can be guessed', files: { token: '1234' }, says: 'a token of 16 to 512' },
    {
      what: 'a key of another certificate',
      files: { token: TOKEN, 'm.crt': 'server.crt', 'm.key': 'expired.key' },
      says: 'm.crt',
    },
    { what: 'a certificate that is none', files: { token: TOKEN, 'm.key': 'server.key' }, says: 'm.crt' },
  ])('$what costs a warning, and kuma-dp runs', async ({ files, says }) => {
    const withTls = 'm.key' in files ? ['--metrics-cert-file=m.crt', '--metrics-key-file=m.key'] : [];
    await using scene = open(['--metrics=127.0.0.1:0', '--metrics-token-file=token', ...withTls]);
    for (const [name, content] of Object.entries(files)) {
      if (name === 'token') writeFileSync(scene.dir.join(name), content);
      else copyFileSync(join(TLS_FIXTURES, content), scene.dir.join(name));
    }
    const agent = await scene.start({ cwd: scene.dir.path });
    await scene.child.waitFor('ready');
    const unavailable = await agent.waitForEvent('metrics.unavailable');
    expect(unavailable).toMatchObject({ level: 40, err: { code: 'CONFIG_INVALID' } });
    expect(JSON.stringify(unavailable)).toContain(says);
    expect(JSON.stringify(agent.events)).not.toMatch(/1234|PRIVATE KEY/);
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual({ code: 0, signal: null });
  });

  test.for([
    ['0.0.0.0:9100', '--metrics (KUMA_DP_AGENT_METRICS): any host could read them at 0.0.0.0:9100'],
    ['[::]:9100', '--metrics (KUMA_DP_AGENT_METRICS): any host could read them at [::]:9100'],
    [
      'metrics.example:9100',
      '--metrics (KUMA_DP_AGENT_METRICS): any host could read them at metrics.example',
    ],
    ['192.0.2.1:9100', '--metrics (KUMA_DP_AGENT_METRICS): any host could read them at 192.0.2.1:9100'],
  ] as const)('%s without a token is refused before kuma-dp is started', async ([address, problem]) => {
    await using scene = open([`--metrics=${address}`]);
    const agent = await scene.start();
    expect(await agent.exited).toEqual({ code: 78, signal: null });
    expect(agent.spoken).toHaveLength(1);
    expect(agent.spoken[0]).toContain(problem);
    expect(agent.spoken[0]).toContain('--metrics-token-file');
  });

  test.for([['--metrics-cert-file=a'], ['--metrics-key-file=a']])(
    '%s alone is refused before kuma-dp is started',
    async ([option]) => {
      await using scene = open(['--metrics=127.0.0.1:0', option ?? '']);
      const agent = await scene.start();
      expect(await agent.exited).toEqual({ code: 78, signal: null });
      expect(agent.spoken).toEqual([expect.stringMatching(/--metrics-key-file \(\w+\) go together$/)]);
    },
  );

  test('an address for all without a token, in the environment, costs the metrics but not the dataplane', async () => {
    await using scene = open(['--settle=100ms']);
    const agent = await scene.start({ env: { KUMA_DP_AGENT_METRICS: '0.0.0.0:0' } });
    await scene.untilRunning(agent);
    expect(agent.seen('metrics.served')).toEqual([]);
    expect(JSON.stringify(agent.events)).toContain('any host could read them');
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual({ code: 0, signal: null });
  });
});
