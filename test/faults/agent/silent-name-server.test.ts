import { readFileSync } from 'node:fs';

import { expect, test } from 'vitest';

import { ControlPlane } from '../../support/kuma/control-plane.ts';
import { unavailable } from '../../support/need.ts';
import { SignalScene } from '../../support/signal-scene.ts';
import { SilentNameServer } from '../../support/silent-name-server.ts';

const names = (scheme: string, count: number): readonly string[] =>
  Array.from({ length: count }, (_, at) => `${scheme}://cp-${at}.kuma.test:5690`);

/** More than libuv has threads, so that files would have to wait. */
const ROWS = [
  { what: 'control planes', endpoints: names('http', 8) },
  { what: 'companions', endpoints: names('grpcs', 6) },
  { what: 'both', endpoints: [...names('https', 3), ...names('grpcs', 3)] },
] as const;

test.for(ROWS)(
  'the agent ends when its stop is over, although the name server is silent and $what have names',
  async ({ endpoints }, context) => {
    if (process.getuid?.() !== 0) unavailable(context, 'a name server can only be set as root');
    await using nameServer = await SilentNameServer.start();
    await using controlPlane = await ControlPlane.start();
    await using scene = new SignalScene({
      controlPlane,
      child: { contract: 'kuma', envoy: 'admin', drainMs: 100, exit: { code: 3 } },
      endpoints,
      options: ['--stop-budget=3s', '--settle=100ms'],
    });
    const agent = await scene.start({ prefix: nameServer.prefix });
    await scene.child.waitFor('ready');
    const startedAtMs = performance.now();
    agent.signal('SIGTERM');
    const { code } = await agent.exited;
    const tookMs = performance.now() - startedAtMs;
    const report = agent.events.find(({ event }) => event === 'stop.reported');
    expect(code).toBe(3);
    expect(readFileSync(scene.stateFile, 'utf8')).not.toBe('');
    expect(report).toBeDefined();
    // A lookup takes 15 s here.
    expect(tookMs).toBeLessThan(8_000);
  },
);
