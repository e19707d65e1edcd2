import { existsSync, readdirSync, readFileSync, readlinkSync, rmdirSync } from 'node:fs';
import { basename, join } from 'node:path';

import { childrenOf } from '../world/power-loss.ts';
import { ManagedProcess } from '../world/managed-process.ts';
import { TemporaryDir } from '../world/temporary-dir.ts';
import { waitUntil } from '../world/wait-until.ts';

export interface BootOptions {
  /** A folder whose files are laid over this machine's: the installed software. */
  readonly layer: string;
  /** `own`: only a loopback interface, invisible outside. */
  readonly network?: 'shared' | 'own';
}

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface JournalEntry {
  readonly message: string;
  /** As syslog counts: 6 is info, 4 warning, 3 error. */
  readonly priority: number;
  /** `undefined` for lines of systemd itself about the unit. */
  readonly pid: number | undefined;
  /** The program that wrote it, as the kernel names it. */
  readonly comm: string;
  /** Microseconds on the monotonic clock of this machine. */
  readonly monotonicUs: number;
}

const PROJECT = join(import.meta.dirname, '..', '..', '..');
/** Where the checkout is seen inside. */
export const PROJECT_INSIDE = '/opt/project';

/**
 * A booted systemd as PID 1 of its own namespaces, over a throw-away overlay of this machine's root: units, users and
 * packages inside are real, and vanish with it. Needs root.
 */
export class BootedSystemd implements AsyncDisposable {
  /** Of its PID 1, as this machine sees it. */
  readonly pid: number;
  readonly #outer: ManagedProcess;
  readonly #scratch: TemporaryDir;

  private constructor(outer: ManagedProcess, scratch: TemporaryDir, pid: number) {
    this.#outer = outer;
    this.#scratch = scratch;
    this.pid = pid;
  }

  static async boot({ layer, network = 'shared' }: BootOptions): Promise<BootedSystemd> {
    await using opening = new AsyncDisposableStack();
    const scratch = opening.use(new TemporaryDir());
    opening.defer(() => removeControlGroup(basename(scratch.path)));
    const outer = opening.use(
      new ManagedProcess({
        command: 'setpriv',
        // The end of this process ends everything that it booted.
        argv: [
          '--pdeathsig',
          'KILL',
          join(import.meta.dirname, 'boot.sh'),
          scratch.path,
          layer,
          PROJECT,
          network,
        ],
      }),
    );
    const pid = await waitUntil(
      () => {
        if (!outer.running) throw new Error(`It ended: ${outer.stderr}`);
        return childrenOf(outer.pid).find((child) => programOf(child) === 'systemd');
      },
      { what: 'the first process of a booted systemd' },
    );
    const booted = new BootedSystemd(outer, scratch, pid);
    await booted.#untilUp();
    opening.move();
    return booted;
  }

  /** Runs a program inside, as root. */
  async run(argv: readonly string[], input = ''): Promise<Finished> {
    await using running = this.start(argv, input);
    const { code } = await running.exited;
    return { code, stdout: running.stdout, stderr: running.stderr };
  }

  /** Runs a program inside that must succeed. @returns its standard output @throws Error with all it said otherwise */
  async must(argv: readonly string[], input = ''): Promise<string> {
    const { code, stdout, stderr } = await this.run(argv, input);
    if (code !== 0) throw new Error(`${argv.join(' ')} ended with ${code}:\n${stdout}${stderr}`);
    return stdout;
  }

  /** Starts a program inside, as root. */
  start(argv: readonly string[], input = ''): ManagedProcess {
    return new ManagedProcess({
      command: 'nsenter',
      argv: ['--target', String(this.pid), '--all', '--root', '--wd', ...argv],
      env: { LANG: 'C.UTF-8', NOTIFY_SOCKET: undefined, JOURNAL_STREAM: undefined },
      stdin: input,
    });
  }

  /** A command prefix: runs a command in the network of this host, and otherwise outside of it. */
  get besideIt(): readonly string[] {
    return ['nsenter', '--target', String(this.pid), '--net'];
  }

  async write(path: string, text: string, mode = '644'): Promise<void> {
    const script = 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"';
    await this.must(['sh', '-c', script, 'write', path, mode], text);
  }

  systemctl(...args: readonly string[]): Promise<string> {
    return this.must(['systemctl', ...args]);
  }

  /** One property of a unit, as `systemctl show` prints it. */
  async property(unit: string, name: string): Promise<string> {
    return (await this.systemctl('show', '--value', '--property', name, unit)).trim();
  }

  /** The unit's lines in the journal, oldest first. */
  async journal(unit: string): Promise<readonly JournalEntry[]> {
    await this.must(['journalctl', '--sync']);
    const text = await this.must(['journalctl', '--no-pager', '--all', '--output', 'json', '--unit', unit]);
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const fields = JSON.parse(line) as Record<string, string>;
        return {
          message: fields['MESSAGE'] ?? '',
          priority: Number(fields['PRIORITY']),
          pid: fields['_PID'] === '1' ? undefined : Number(fields['_PID']),
          comm: fields['_COMM'] ?? '',
          monotonicUs: Number(fields['__MONOTONIC_TIMESTAMP']),
        };
      });
  }

  /** The pid by which this machine knows a process that has `inside` there. @throws Error if there is none */
  hostPid(inside: string): number {
    const namespace = readlinkSync(`/proc/${this.pid}/ns/pid`);
    const pid = readdirSync('/proc').find(
      (entry) => /^\d+$/.test(entry) && innermostPid(entry) === inside && pidNamespace(entry) === namespace,
    );
    if (pid === undefined) throw new Error(`No process ${inside} inside`);
    return Number(pid);
  }

  /** Waits until it has shut down, as after `systemctl poweroff`. */
  async off(): Promise<void> {
    await this.#outer.exited;
  }

  /** Ends it without a shutdown, as a power loss. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#outer[Symbol.asyncDispose]();
    await removeControlGroup(basename(this.#scratch.path));
    this.#scratch[Symbol.dispose]();
  }

  async #untilUp(): Promise<void> {
    await waitUntil(
      async () => {
        if (!this.#outer.running) throw new Error(`It ended: ${this.#outer.stdout}`);
        const { stdout } = await this.run(['systemctl', 'is-system-running']);
        return /^(running|degraded)$/m.test(stdout);
      },
      { what: 'systemd to have booted', pollMs: 50 },
    );
  }
}

/** What runs as `pid` now; empty if it has ended. */
function programOf(pid: number): string {
  return unlessGone(() => readFileSync(`/proc/${pid}/comm`, 'utf8').trim());
}

function innermostPid(pid: string): string {
  const status = unlessGone(() => readFileSync(`/proc/${pid}/status`, 'utf8'));
  return /^NSpid:.*\t(\d+)$/m.exec(status)?.[1] ?? '';
}

function pidNamespace(pid: string): string {
  return unlessGone(() => readlinkSync(`/proc/${pid}/ns/pid`));
}

/** A process may end between two looks at it. */
function unlessGone(look: () => string): string {
  try {
    return look();
  } catch {
    return '';
  }
}

/** Once its last process has ended, which a kill does not wait for. */
async function removeControlGroup(name: string): Promise<void> {
  const hierarchy = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .find(([, , type]) => type === 'cgroup2')?.[1];
  if (hierarchy === undefined) return;
  const group = join(hierarchy, name);
  await waitUntil(
    () => {
      if (existsSync(group)) removeGroup(group);
      return true;
    },
    { what: `the processes of ${group} to end` },
  );
}

/** From the inside out: a group with groups below it cannot go. @throws Error while a process is in it */
function removeGroup(path: string): void {
  for (const entry of readdirSync(path, { withFileTypes: true }))
    if (entry.isDirectory()) removeGroup(join(path, entry.name));
  rmdirSync(path);
}
