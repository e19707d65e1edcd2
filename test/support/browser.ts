import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

import { TemporaryDir } from './world/temporary-dir.ts';
import { waitUntil } from './world/wait-until.ts';

/** Debian's, or the one that `CHROMIUM_BIN` names. */
const CHROMIUM_BIN = process.env['CHROMIUM_BIN'] ?? '/usr/bin/chromium';

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-dev-shm-usage',
  '--remote-debugging-port=0',
];
const ANSWER_MS = 30_000;

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly sessionId?: string;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly result?: unknown;
  readonly error?: { readonly message: string };
}

type Hear = (message: Message) => void;

/**
 * A headless Chromium of its own, controlled by the DevTools protocol.
 *
 * @see https://chromedevtools.github.io/devtools-protocol/
 */
export class Browser implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #profile: TemporaryDir;
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, Hear>();
  readonly #listeners = new Set<Hear>();
  #lastId = 0;

  private constructor(child: ChildProcess, profile: TemporaryDir, socket: WebSocket) {
    this.#child = child;
    this.#profile = profile;
    this.#socket = socket;
    socket.addEventListener('message', ({ data }) => {
      const message = JSON.parse(String(data)) as Message;
      if (message.id === undefined) for (const hear of this.#listeners) hear(message);
      else this.#waiting.get(message.id)?.(message);
    });
  }

  static async start(): Promise<Browser> {
    if (!existsSync(CHROMIUM_BIN)) throw new Error(`There is no ${CHROMIUM_BIN}: apt-get install chromium`);
    const profile = new TemporaryDir();
    const child = spawn(CHROMIUM_BIN, [...FLAGS, `--user-data-dir=${profile.path}`, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'pipe'],
      // Its own group: what it starts ends with it.
      detached: true,
      // It leaves folders behind.
      env: { ...process.env, TMPDIR: profile.path },
    });
    const socket = new WebSocket(await addressOf(child));
    await once(socket, 'open');
    return new Browser(child, profile, socket);
  }

  async open(url: string): Promise<BrowserPage> {
    const { targetId } = (await this.call('Target.createTarget', { url: 'about:blank' })) as {
      readonly targetId: string;
    };
    const { sessionId } = (await this.call('Target.attachToTarget', { targetId, flatten: true })) as {
      readonly sessionId: string;
    };
    const page = new BrowserPage(this, sessionId);
    await page.begin();
    await page.go(url);
    return page;
  }

  call(method: string, params: Readonly<Record<string, unknown>> = {}, sessionId?: string): Promise<unknown> {
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error(`Chromium did not answer ${method}`));
      }, ANSWER_MS);
      this.#waiting.set(id, ({ result, error }) => {
        clearTimeout(timer);
        this.#waiting.delete(id);
        if (error === undefined) resolve(result);
        else reject(new Error(`${method}: ${error.message}`));
      });
      this.#socket.send(JSON.stringify({ id, method, params, sessionId }));
    });
  }

  listen(hear: Hear): void {
    this.#listeners.add(hear);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close();
    const { pid, exitCode } = this.#child;
    if (pid !== undefined && exitCode === null) {
      const ended = once(this.#child, 'exit');
      process.kill(-pid, 'SIGKILL');
      await ended;
    }
    // Processes that it started may still be writing.
    await waitUntil(() => isRemoved(this.#profile.path), { what: 'the profile of Chromium to be gone' });
  }
}

/** One tab. */
export class BrowserPage {
  /** Errors that it wrote to its console or threw, and requests that its policy blocked. */
  readonly problems: string[] = [];
  /** All requests that it made. */
  readonly requests: string[] = [];
  readonly #browser: Browser;
  readonly #sessionId: string;

  constructor(browser: Browser, sessionId: string) {
    this.#browser = browser;
    this.#sessionId = sessionId;
    browser.listen((message) => {
      if (message.sessionId === sessionId) this.#hear(message);
    });
  }

  async begin(): Promise<void> {
    for (const domain of ['Page', 'Runtime', 'Network', 'Log']) await this.#call(`${domain}.enable`);
  }

  async go(url: string): Promise<void> {
    await this.#call('Page.navigate', { url });
    await this.until('document.readyState === "complete"');
  }

  async resize(width: number, height: number): Promise<void> {
    const metrics = { width, height, deviceScaleFactor: 1, mobile: false };
    await this.#call('Emulation.setDeviceMetricsOverride', metrics);
  }

  async prefer(scheme: 'light' | 'dark'): Promise<void> {
    const features = [{ name: 'prefers-color-scheme', value: scheme }];
    await this.#call('Emulation.setEmulatedMedia', { features });
  }

  /** The value of an expression in the page. */
  async evaluate<T>(expression: string): Promise<T> {
    const answer = (await this.#call('Runtime.evaluate', {
      expression,
      awaitPromise: true,
      returnByValue: true,
    })) as {
      readonly result: { readonly value: T };
      readonly exceptionDetails?: { readonly text: string; readonly exception?: { description?: string } };
    };
    const { exceptionDetails: thrown } = answer;
    if (thrown !== undefined) throw new Error(thrown.exception?.description ?? thrown.text);
    return answer.result.value;
  }

  async until(expression: string, budgetMs = 15_000): Promise<void> {
    await waitUntil(() => this.evaluate<boolean>(`Boolean(${expression})`), { what: expression, budgetMs });
  }

  /** Presses `Enter`, `ArrowDown`, `/` … as a user at a keyboard does. */
  async press(...keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      const text = key === 'Enter' ? '\r' : key.length === 1 ? key : undefined;
      await this.#call('Input.dispatchKeyEvent', {
        type: 'keyDown',
        key,
        ...(text === undefined ? {} : { text }),
      });
      await this.#call('Input.dispatchKeyEvent', { type: 'keyUp', key });
    }
  }

  type(text: string): Promise<unknown> {
    return this.#call('Input.insertText', { text });
  }

  async screenshot(path: string): Promise<void> {
    const { data } = (await this.#call('Page.captureScreenshot', { format: 'png' })) as {
      readonly data: string;
    };
    writeFileSync(path, Buffer.from(data, 'base64'));
  }

  #hear({ method, params = {} }: Message): void {
    if (method === 'Runtime.exceptionThrown') this.problems.push(JSON.stringify(params));
    if (method === 'Log.entryAdded') {
      const { entry } = params as { readonly entry: { readonly level: string; readonly text: string } };
      if (entry.level === 'error') this.problems.push(entry.text);
    }
    if (method === 'Network.requestWillBeSent') {
      const { request } = params as { readonly request: { readonly url: string } };
      this.requests.push(request.url);
    }
  }

  #call(method: string, params: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    return this.#browser.call(method, params, this.#sessionId);
  }
}

async function addressOf(child: ChildProcess): Promise<string> {
  const { stderr } = child;
  if (stderr === null) throw new Error('Chromium has no standard error');
  const said: string[] = [];
  for await (const line of createInterface({ input: stderr })) {
    const address = /^DevTools listening on (ws:\S+)/.exec(line)?.[1];
    if (address !== undefined) {
      stderr.resume();
      return address;
    }
    said.push(line);
  }
  throw new Error(`Chromium ended: ${said.join('\n')}`);
}

function isRemoved(path: string): boolean {
  rmSync(path, { recursive: true, force: true, maxRetries: 3 });
  return !existsSync(path);
}
