import { spawnSync } from 'node:child_process';

import { expect, test } from 'vitest';

import { unavailable } from '../../support/need.ts';
import { SilentNameServer } from '../../support/silent-name-server.ts';

/** Ends itself while names are looked up, which takes 15 s here. */
const PROGRAM = `
  const { lookup } = await import('node:dns');
  const { endNow } = await import('./program/end-process.ts');
  for (const name of ['a', 'b', 'c', 'd', 'e']) lookup(name + '.kuma.test', () => {});
  setTimeout(endNow, 300, 7);
`;

test.for([
  ['with a shell', 'true'],
  ['whose shell is no program', 'mount --bind /dev/null "$(readlink -f /bin/sh)"'],
  ['without a shell', 'mount -t tmpfs none /usr/bin'],
])(
  'in an image %s a program ends at once, with its exit code, although the name server is silent',
  async ([, how], context) => {
    if (process.getuid?.() !== 0) unavailable(context, 'a name server can only be set as root');
    await using nameServer = await SilentNameServer.start();
    const [program = '', ...prefix] = nameServer.prefix;
    const argv = [process.execPath, '--input-type=module', '--eval', PROGRAM];
    const beganMs = performance.now();
    const { status } = spawnSync(program, [...prefix, 'sh', '-c', `${how} && exec "$@"`, 'sh', ...argv]);
    expect(status).toBe(7);
    expect(performance.now() - beganMs).toBeLessThan(5_000);
  },
);
