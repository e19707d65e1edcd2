import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';

import { expect, test } from 'vitest';

import { COMPANION_BIN } from '../../support/companion-process.ts';
import { unavailable } from '../../support/need.ts';
import { SilentNameServer } from '../../support/silent-name-server.ts';
import { TemporaryDir } from '../../support/world/temporary-dir.ts';

/** More than libuv has threads. A lookup takes 15 s here. */
const NAMES = Array.from({ length: 6 }, (_, at) => `--kuma-api=https://cp-${at}.kuma.test:5682`);

test.for([
  ['before its first look', undefined],
  ['after its first look', 'control-plane.lost'],
  ['once it serves', 'deregistrar.started'],
] as const)(
  'a companion that is asked to stop %s ends soon after, although the name server is silent',
  async ([, event], context) => {
    if (process.getuid?.() !== 0) unavailable(context, 'a name server can only be set as root');
    await using nameServer = await SilentNameServer.start();
    using dir = new TemporaryDir();
    const [program = '', ...prefix] = nameServer.prefix;
    const addresses = ['--listen=127.0.0.1:0', '--http=off', `--admin-socket=${dir.join('admin.sock')}`];
    const companion = spawn(
      program,
      [...prefix, COMPANION_BIN, 'serve', ...NAMES, `--store=${dir.join('state.db')}`, ...addresses].concat(
        '--authn=none',
        '--plaintext',
      ),
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const said = text(companion.stderr);
    const beganMs = performance.now();
    await new Promise<void>((resolve) => {
      if (event === undefined) setTimeout(resolve, 800);
      else
        companion.stderr.on('data', (lines: Buffer) => {
          if (lines.includes(event)) resolve();
        });
    });
    // A look takes 2 s for each control plane at the most, all at once.
    expect(performance.now() - beganMs).toBeLessThan(10_000);
    const askedAtMs = performance.now();
    companion.kill('SIGTERM');
    expect(await once(companion, 'exit')).toEqual([0, null]);
    expect(performance.now() - askedAtMs).toBeLessThan(6_000);
    expect(await said).not.toContain('Error');
  },
);
