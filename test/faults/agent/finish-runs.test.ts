import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  lchownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import process from 'node:process';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import type { HostState } from '../../../agent/state/host-state.pure.ts';
import { AgentProcess } from '../../support/agent-process.ts';
import { ControlPlane } from '../../support/kuma/control-plane.ts';
import { SignalScene } from '../../support/signal-scene.ts';
import { TemporaryDir } from '../../support/world/temporary-dir.ts';

const BOOT_ID = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
const UNPRIVILEGED = 65_534;
const isRoot = process.geteuid?.() === 0;

let controlPlane: ControlPlane;
/** Accepts connections and never answers. */
let silent: Server;
let silentUrl: string;

beforeAll(async () => {
  controlPlane = await ControlPlane.start();
  silent = createServer(() => {});
  await new Promise<void>((resolve) => {
    silent.listen(0, '127.0.0.1', resolve);
  });
  const address = silent.address();
  silentUrl = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`;
});

afterAll(async () => {
  silent.close();
  await controlPlane[Symbol.asyncDispose]();
});

/** A folder with what killed agents have left in it. */
class StateFolder implements Disposable {
  readonly #dir = new TemporaryDir();
  readonly path = this.#dir.join('state');

  constructor() {
    mkdirSync(this.path, { mode: 0o700 });
  }

  fileOf(name: string): string {
    return `${this.path}/dataplane~default~${name}.json`;
  }

  beside(name: string): string {
    return this.#dir.join(name);
  }

  /** @returns the dataplane, whose stream has ended and whose object is there */
  leave(change: Partial<HostState> = {}): SignalScene {
    const scene = new SignalScene({ controlPlane });
    scene.recreate('ended');
    const state: HostState = {
      schema: 1,
      incarnation: randomUUID(),
      dataplane: { proxyType: 'dataplane', mesh: 'default', name: scene.name },
      owner: 'cp',
      mayDelete: true,
      endpoints: [controlPlane.httpUrl],
      skipVerify: false,
      bootId: BOOT_ID,
      agent: { pid: 4_190_000, startTicks: 1 },
      phase: 'running',
      deregistered: false,
      ...change,
    };
    writeFileSync(this.fileOf(scene.name), JSON.stringify(state));
    return scene;
  }

  /** Gives everything to a user who is not root. */
  giveAway(): void {
    chmodSync(this.#dir.path, 0o755);
    for (const path of [this.path, ...readdirSync(this.path).map((name) => `${this.path}/${name}`)])
      lchownSync(path, UNPRIVILEGED, UNPRIVILEGED);
  }

  [Symbol.dispose](): void {
    this.#dir[Symbol.dispose]();
  }
}

async function finish(
  path: string,
  {
    options = [],
    env = {},
  }: { readonly options?: readonly string[]; readonly env?: Record<string, string> } = {},
): Promise<{ readonly code: number | null; readonly spoken: string; readonly tookMs: number }> {
  const startedAtMs = performance.now();
  await using agent = await AgentProcess.start({ argv: ['deregister', '--state', path, ...options], env });
  const { code } = await agent.exited;
  return { code, spoken: agent.spoken.join('\n'), tookMs: performance.now() - startedAtMs };
}

describe.concurrent('deregister --state FOLDER', () => {
  test.for<{ readonly what: string; readonly make: (path: string) => void }>([
    { what: 'an empty file', make: (path) => writeFileSync(path, '') },
    { what: 'a file that was cut off', make: (path) => writeFileSync(path, '{"schema":1,"incar') },
    { what: 'a file of another version', make: (path) => writeFileSync(path, '{"schema":2}') },
    { what: 'a huge file', make: (path) => writeFileSync(path, 'x'.repeat(1 << 20)) },
    { what: 'a folder', make: (path) => mkdirSync(path) },
    { what: 'a FIFO', make: (path) => execFileSync('mkfifo', [path]) },
    { what: 'a link to an endless device', make: (path) => symlinkSync('/dev/zero', path) },
    { what: 'a dangling link', make: (path) => symlinkSync('/nowhere', path) },
  ])('$what is named and left; the others are finished', async ({ make }) => {
    using folder = new StateFolder();
    make(folder.fileOf('a-odd'));
    const others = [folder.leave(), folder.leave()];
    const { code, spoken } = await finish(folder.path);
    expect(code).toBe(1);
    expect(spoken).toContain('a-odd');
    expect(others.map(({ isThere }) => isThere)).toEqual([false, false]);
  });

  test.for<{ readonly what: string; readonly change: Partial<HostState> }>([
    { what: 'names an endpoint that is no URL', change: { endpoints: ['cp.example'] } },
    { what: 'names a key that is not there', change: { clientKeyFile: '/nowhere/key' } },
    { what: 'names a control plane that is silent', change: { endpoints: ['silent'] } },
  ])('a file that $what does not keep the others from being finished', async ({ change }) => {
    using folder = new StateFolder();
    const endpoints = change.endpoints?.map((url) => (url === 'silent' ? silentUrl : url));
    const odd = folder.leave({ ...change, ...(endpoints === undefined ? {} : { endpoints }) });
    const other = folder.leave();
    const { code } = await finish(folder.path, { options: ['--timeout=1s'] });
    expect({ code, odd: odd.isThere, other: other.isThere }).toEqual({ code: 1, odd: true, other: false });
  });

  test('ten silent control planes take no longer than a single one', async () => {
    using folder = new StateFolder();
    for (let at = 0; at < 10; at += 1) folder.leave({ endpoints: [silentUrl] });
    const other = folder.leave();
    const { tookMs } = await finish(folder.path, { options: ['--timeout=1500ms'] });
    expect(other.isThere).toBe(false);
    expect(tookMs).toBeLessThan(5_000);
  });
});

describe.concurrent('at the end of a service', () => {
  const service = { SERVICE_RESULT: 'success', INVOCATION_ID: 'this-run' };

  test('finishes the run of that service, and waits for no other', async () => {
    using folder = new StateFolder();
    const own = folder.leave({ invocation: 'this-run' });
    const others = [folder.leave({ invocation: 'another-run', endpoints: [silentUrl] })];
    const { code } = await finish(folder.path, { env: service });
    expect(code).toBe(0);
    expect(own.isThere).toBe(false);
    expect(others.map(({ isThere }) => isThere)).toEqual([true]);
  });

  test('takes a file of 0.1.0, which does not say whose it is', async () => {
    using folder = new StateFolder();
    const own = folder.leave({ deregistrationDelayMs: 10_000 });
    expect((await finish(folder.path, { env: service })).code).toBe(0);
    expect(own.isThere).toBe(false);
  });

  test('does not repeat a deregistration that the run has just tried', async () => {
    using folder = new StateFolder();
    const own = folder.leave({ invocation: 'this-run', phase: 'ended', endedAtUptimeMs: 1 });
    const { code, spoken } = await finish(folder.path, { env: service });
    expect({ code, isThere: own.isThere, requests: own.requests('GET') }).toEqual({
      code: 1,
      isThere: true,
      requests: [],
    });
    expect(spoken).toContain('tried until it ended');
    expect((await finish(folder.path)).code, 'by hand it is tried').toBe(0);
  });

  test('waits less than two seconds for a silent control plane', async () => {
    using folder = new StateFolder();
    folder.leave({ invocation: 'this-run', endpoints: [silentUrl] });
    const { code, tookMs } = await finish(folder.path, { env: service });
    expect(code).toBe(1);
    expect(tookMs).toBeLessThan(4_000);
  });
});

describe.runIf(isRoot).concurrent('root, in a folder of another user', () => {
  test('finishes a run as far as its user could', async () => {
    using folder = new StateFolder();
    const scene = folder.leave();
    folder.giveAway();
    expect((await finish(folder.path)).code).toBe(0);
    expect(scene.isThere).toBe(false);
    expect(JSON.parse(readFileSync(folder.fileOf(scene.name), 'utf8'))).toMatchObject({ phase: 'ended' });
  });

  test.for<{ readonly what: string; readonly lay: (folder: StateFolder, target: string) => void }>([
    { what: 'the folder', lay: (folder, target) => symlinkSync(target, folder.beside('link')) },
    { what: 'a file', lay: (folder, target) => symlinkSync(`${target}/x.json`, folder.fileOf('x')) },
  ])('a link in place of $what leads nowhere', async ({ what, lay }) => {
    using roots = new StateFolder();
    using folder = new StateFolder();
    const scene = roots.leave();
    lay(folder, roots.path);
    folder.giveAway();
    const path = what === 'a file' ? folder.path : folder.beside('link');
    if (what === 'the folder') execFileSync('chown', ['-h', String(UNPRIVILEGED), path]);
    const before = readFileSync(roots.fileOf(scene.name), 'utf8');
    expect((await finish(path)).code).not.toBe(0);
    expect(readFileSync(roots.fileOf(scene.name), 'utf8')).toBe(before);
    expect(scene.isThere).toBe(true);
  });

  test('reads no file of root that the state file names', async () => {
    using folder = new StateFolder();
    const secret = folder.beside('secret');
    writeFileSync(secret, 'of-root', { mode: 0o600 });
    const scene = folder.leave({ userTokenFile: secret });
    folder.giveAway();
    await finish(folder.path);
    const shown = scene.requests('GET').map(({ headers }) => headers['authorization']);
    expect(shown).not.toContain('Bearer of-root');
    expect(shown.length).toBeGreaterThan(0);
  });

  test("shows root's credential only to an endpoint that root names", async () => {
    using folder = new StateFolder();
    const token = folder.beside('token');
    writeFileSync(token, 'of-root', { mode: 0o600 });
    const scene = folder.leave();
    folder.giveAway();
    const refused = await finish(folder.path, { options: [`--user-token-file=${token}`] });
    expect(refused.code).toBe(78);
    expect(refused.spoken).toContain('--endpoint');
    expect(scene.requests('GET')).toEqual([]);

    const named = [`--user-token-file=${token}`, `--endpoint=${controlPlane.httpUrl}`];
    await finish(folder.path, { options: named });
    expect(scene.requests('GET').at(-1)?.headers['authorization']).toBe('Bearer of-root');
  });

  test('refuses a file of another user in a folder of root', async () => {
    using folder = new StateFolder();
    const scene = folder.leave();
    chownSync(folder.fileOf(scene.name), UNPRIVILEGED, UNPRIVILEGED);
    const { code, spoken } = await finish(folder.path);
    expect({ code, isThere: scene.isThere }).toEqual({ code: 1, isThere: true });
    expect(spoken).toContain(`uid ${UNPRIVILEGED}`);
  });

  test('prints the file’s contents as harmless text', async () => {
    using folder = new StateFolder();
    folder.leave({ endpoints: ['cp\u001b]0;x\u0007\u009b31m'] });
    folder.giveAway();
    const { spoken } = await finish(folder.path);
    expect(spoken).toContain('\\x1b]0;x');
    expect(spoken).not.toMatch(/(?!\n)\p{Cc}/u);
  });
});
