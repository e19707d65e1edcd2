import { isKumaDpName, KUMA_DP_NAME } from '../../kuma/kuma-dp-name.ts';
import { FRONTS, readFront, words, type Front, type Options } from './fronts.pure.ts';
import { readScript } from './shell-script.pure.ts';

type WrapperEnv = Readonly<Record<string, string | undefined>>;

/** A program between the agent and kuma-dp that breaks a stop or makes it harder. */
export interface Obstacle {
  /** By its own name: `runuser`, `sh`, `docker`. */
  readonly program: string;
  /** `breaks`: a stop cannot work through it. `careful`: the agent works around it. */
  readonly level: 'breaks' | 'careful';
  /** Whether Envoy cannot be found behind it. */
  readonly hides?: true;
  readonly says: string;
  /** What to write instead. */
  readonly remedy: string;
}

/** kuma-dp's own command, without the programs in front of it. */
export interface Wrapping {
  /** kuma-dp's own words, its program first; empty if none of the words is kuma-dp's. */
  readonly argv: readonly string[];
  /** kuma-dp's environment, as far as it can be derived. */
  readonly env: WrapperEnv;
  /** The folder of relative paths; `undefined` for the agent's own. */
  readonly folder: string | undefined;
  readonly obstacles: readonly Obstacle[];
  /** How many words stand in front of kuma-dp's; `undefined` where its words are inside of another word. */
  readonly inFront: number | undefined;
}

export interface WrappingContext {
  readonly argv: readonly string[];
  readonly env: WrapperEnv;
  /** The text of a script that the command runs; `undefined` if it is no script or cannot be read. */
  readonly readScriptFile?: (path: string) => string | undefined;
}

const SHELLS: ReadonlySet<string> = new Set(['sh', 'bash', 'dash', 'ash', 'ksh', 'mksh', 'zsh']);
const USER_SWITCHES: ReadonlySet<string> = new Set(['su', 'runuser']);
/** Programs that start a command elsewhere: in another container, on another host, as another unit. */
const ELSEWHERE: ReadonlySet<string> = new Set(
  words(
    'docker podman nerdctl ctr crictl lxc lxc-attach lxc-execute incus kubectl nomad ssh machinectl systemd-run systemd-nspawn runc crun flatpak-spawn toolbox distrobox',
  ),
);
const DETACHERS: ReadonlySet<string> = new Set(['daemon', 'daemonize', 'start-stop-daemon']);
/** Programs that hand the command to a server process of their own. */
const SERVERS: ReadonlySet<string> = new Set(
  words('tmux screen byobu zellij dtach abduco pm2 forever at batch'),
);
/** The option's value is a text for a shell: `--command="kuma-dp run …"`. */
const RUNS_KUMA_DP = new RegExp(String.raw`(?:^|[\s/;&|(="'])${KUMA_DP_NAME}\s(?:.*\s)?run(?:\s|$)`, 's');

const PLAIN_LINE = 'kuma-dp-agent run -- kuma-dp run …';
/** The limit for wrappers inside of wrappers. */
const MOST_LAYERS = 16;

/** Finds kuma-dp's own words in a command, and what stands between. */
export function unwrap({ argv, env, readScriptFile = () => undefined }: WrappingContext): Wrapping {
  const reader = new Reader(readScriptFile);
  reader.read(argv, env);
  return reader.result;
}

class Reader {
  readonly #readScriptFile: (path: string) => string | undefined;
  readonly #obstacles: Obstacle[] = [];
  #argv: readonly string[] = [];
  #layers = 0;
  #env: WrapperEnv = {};
  #folder: string | undefined;
  #inFront: number | undefined = 0;

  constructor(readScriptFile: (path: string) => string | undefined) {
    this.#readScriptFile = readScriptFile;
  }

  get result(): Wrapping {
    return {
      argv: this.#argv,
      env: this.#env,
      folder: this.#folder,
      obstacles: this.#obstacles,
      inFront: this.#argv.length === 0 ? undefined : this.#inFront,
    };
  }

  read(argv: readonly string[], env: WrapperEnv): void {
    const program = nameOf(argv[0]);
    this.#env = env;
    this.#layers += 1;
    if (program === '' || this.#layers > MOST_LAYERS) return;
    if (isKumaDpName(program)) this.#argv = argv;
    else if (SHELLS.has(program)) this.#readShell(program, argv);
    else if (program === 'busybox') this.#behind(argv, 1);
    else if (USER_SWITCHES.has(program)) this.#readUserSwitch(program, argv);
    else if (program === 'systemd-run' && argv.includes('--scope')) this.#search(program, argv);
    else if (ELSEWHERE.has(program)) this.#readElsewhere(program, argv);
    else if (DETACHERS.has(program)) this.#readDetacher(program, argv);
    else if (SERVERS.has(program)) this.#readServer(program, argv);
    else this.#readFront(program, argv);
  }

  #readFront(program: string, argv: readonly string[]): void {
    const front = FRONTS[program];
    if (front === undefined) {
      this.#readUnknown(program, argv);
      return;
    }
    const began = { inFront: this.#inFront, env: this.#env };
    this.#readKnown(program, front, argv);
    if (this.#argv.length > 0) return;
    // The program has options that the table does not know.
    [this.#inFront, this.#env] = [began.inFront, began.env];
    this.#search(program, argv);
  }

  #readKnown(program: string, front: Front, argv: readonly string[]): void {
    const { options, assigned, length } = readFront(front, argv);
    this.#noteFront(program, options);
    this.#folder = lastOf(options, program === 'env' ? ['C', 'chdir'] : ['D', 'chdir']) ?? this.#folder;
    const split = lastOf(options, ['S', 'split-string']);
    const env = { ...environmentBehind(program, options, this.#env), ...assigned };
    if (program === 'env' && split !== undefined) {
      this.#inFront = undefined;
      // The split text may begin with env's own options and assignments.
      const [first] = readScript(`env ${split}`, { env, args: [] });
      this.read([...(first?.words ?? []), ...argv.slice(length)], env);
    } else this.#behind(argv, length, env);
  }

  #noteFront(program: string, options: Options): void {
    if (Object.keys(this.#env).some((name) => name.startsWith('KUMA_'))) this.#noteDropped(program, options);
    const forks = program === 'setsid' && (options.has('f') || options.has('fork'));
    if (forks || (program === 'sudo' && (options.has('b') || options.has('background')))) {
      this.#noteDetached(program);
    }
  }

  /** kuma-dp needs only a part of the environment. */
  #noteDropped(program: string, options: Options): void {
    if (program === 'sudo' && !options.has('E') && !options.has('preserve-env')) {
      this.#note(program, 'breaks', {
        says: 'drops the environment, so kuma-dp does not get the KUMA_* variables that are set here',
        remedy: 'sudo -E …, or let the service manager switch the user (User=)',
      });
    }
    if (program === 'doas') {
      this.#note(program, 'careful', {
        says: 'drops the environment unless its rule in doas.conf says keepenv; kuma-dp then does not get the KUMA_* variables that are set here',
        remedy: 'add keepenv to the rule, or let the service manager switch the user (User=)',
      });
    }
  }

  /** For an unknown program: kuma-dp's words are the last ones that begin with kuma-dp and contain `run`. */
  #readUnknown(program: string, argv: readonly string[]): void {
    const { inFront, env } = { inFront: this.#inFront, env: this.#env };
    this.#search(program, argv);
    if (this.#argv.length > 0) return;
    this.#readOwnScript(program, argv);
    // A program with kuma-dp's arguments but another name is a custom build or a stand-in. In a script, most commands
    // are neither.
    if (this.#argv.length === 0 && inFront !== undefined && argv.includes('run', 1)) {
      [this.#argv, this.#inFront, this.#env] = [argv, inFront, env];
    }
  }

  /** kuma-dp among the words of any program: as a word of its own, in a shell's words, or in a text. */
  #search(program: string, argv: readonly string[]): void {
    const at = findKumaDp(argv, 1);
    if (at !== -1) {
      this.#behind(argv, at);
      return;
    }
    const text = argv.findIndex((word, index) => index > 0 && RUNS_KUMA_DP.test(word));
    if (text === -1) return;
    const shell = argv.findLastIndex((word, index) => index > 0 && index < text && SHELLS.has(nameOf(word)));
    if (shell !== -1) this.#behind(argv, shell);
    if (this.#argv.length > 0) return;
    const script = (argv[text] ?? '').replace(/^--?[\w-]+=/, '');
    this.#readText(program, { script, args: [], shell: 'sh' });
  }

  /** A script that is started by its own name, with its shell in its first line. */
  #readOwnScript(program: string, argv: readonly string[]): void {
    const script = this.#readScriptFile(argv[0] ?? '') ?? '';
    const [, first, second] = /^#! *(\S+)(?: +(\S+))?/.exec(script) ?? [];
    const shell = nameOf(nameOf(first) === 'env' ? second : first);
    if (SHELLS.has(shell)) this.#readText(program, { script, args: argv, shell });
  }

  #behind(argv: readonly string[], length: number, env = this.#env): void {
    if (this.#inFront !== undefined) this.#inFront += length;
    this.read(argv.slice(length), env);
  }

  #readShell(program: string, argv: readonly string[]): void {
    const { options, length } = readFront({ valued: words('o O rcfile init-file') }, argv);
    const [first = '', ...args] = argv.slice(length);
    if (options.has('c')) this.#readText(program, { script: first, args, shell: program });
    else {
      const script = this.#readScriptFile(first);
      if (script !== undefined) this.#readText(program, { script, args: [first, ...args], shell: program });
      else this.#inFront = undefined;
    }
  }

  /** The command of a script that is kuma-dp's, and whether the shell stays in front of it. */
  #readText(
    program: string,
    {
      script,
      args,
      shell,
    }: { readonly script: string; readonly args: readonly string[]; readonly shell: string },
  ): void {
    this.#inFront = undefined;
    const commands = readScript(script, { env: this.#env, args });
    for (const command of commands) {
      const execs = command.words[0] === 'exec';
      const before = this.#obstacles.length;
      this.read(command.words.slice(execs ? 1 : 0), command.env);
      if (this.#argv.length === 0) continue;
      const only = commands.length === 1 && !command.redirected;
      // bash hands over to a single plain command; dash does so from 0.5.11 on, unless a line feed follows.
      if (!execs && !(only && shell === 'bash')) {
        this.#obstacles.splice(before, 0, {
          program,
          level: 'careful',
          says: 'stays between the agent and kuma-dp and would die of the SIGTERM that is meant for kuma-dp; the agent signals kuma-dp itself',
          remedy: `write "exec kuma-dp run …" in the script, or better no shell: ${PLAIN_LINE}`,
        });
      }
      if (command.endedBy === '&') this.#noteDetached(program);
      return;
    }
  }

  #readUserSwitch(program: string, argv: readonly string[]): void {
    const valued = words('u g G s c C T w user group supp-group shell command session-command');
    const { options, length } = readFront(
      { valued, operands: program === 'su' || !hasUser(argv) ? 1 : 0 },
      argv,
    );
    const script = lastOf(options, ['c', 'command', 'session-command']);
    this.#note(program, 'careful', {
      says: 'kills what it started 2 s after a SIGTERM, which cuts the drain; the agent signals kuma-dp itself, which needs root',
      remedy: `let the service manager switch the user (User=kuma-dp), or setpriv --reuid=kuma-dp --regid=kuma-dp --init-groups kuma-dp run …`,
    });
    if (script !== undefined) this.#readText('sh', { script, args: [], shell: 'sh' });
    else this.#behind(argv, length);
  }

  #readElsewhere(program: string, argv: readonly string[]): void {
    this.#note(program, 'breaks', {
      hides: true,
      says: 'starts kuma-dp in another container, unit or host, where the agent can neither see nor signal it',
      remedy: `put the agent inside, in front of kuma-dp itself: ${PLAIN_LINE}`,
    });
    const at = findKumaDp(argv, 0);
    if (at !== -1) this.#argv = argv.slice(at);
    this.#inFront = undefined;
    const detached = argv.some(
      (word) => word === '-d' || word === '--detach' || word.startsWith('--detach='),
    );
    if (detached && argv.indexOf('-d') < (at === -1 ? argv.length : at)) this.#noteDetached(program);
  }

  #readServer(program: string, argv: readonly string[]): void {
    this.#note(program, 'breaks', {
      hides: true,
      says: 'gives kuma-dp to a server process of its own, where the agent may neither see nor signal it, and ends when the terminal does',
      remedy: `put the agent inside, in front of kuma-dp itself: ${program} … ${PLAIN_LINE}`,
    });
    const noted = this.#obstacles.length;
    this.#search(program, argv);
    // The words in between are the server's.
    this.#obstacles.splice(noted);
    this.#inFront = undefined;
  }

  #readDetacher(program: string, argv: readonly string[]): void {
    const at = argv.findLastIndex((word) => isKumaDpName(nameOf(word)));
    if (at !== -1) this.#argv = argv.slice(at).filter((word, index) => !(index === 1 && word === '--'));
    this.#inFront = undefined;
    this.#noteDetached(program);
  }

  #noteDetached(program: string): void {
    this.#note(program, 'breaks', {
      says: 'sends kuma-dp to the background and ends: its exit status is lost, and the agent supervises it only if the kernel reparents it to the agent',
      remedy: `run it in the foreground: ${PLAIN_LINE}`,
    });
  }

  #note(program: string, level: Obstacle['level'], rest: Omit<Obstacle, 'program' | 'level'>): void {
    this.#obstacles.push({ program, level, ...rest });
  }
}

/** @returns where the last words begin that are kuma-dp's and say `run`, at `from` or later; otherwise -1 */
function findKumaDp(argv: readonly string[], from: number): number {
  return argv.findLastIndex(
    (word, index) => index >= from && isKumaDpName(nameOf(word)) && argv.includes('run', index),
  );
}

function environmentBehind(program: string, options: Options, env: WrapperEnv): WrapperEnv {
  const clears =
    program === 'env'
      ? options.has('i') || options.has('-') || options.has('ignore-environment')
      : program === 'sudo'
        ? !options.has('E') && !options.has('preserve-env')
        : program === 'setpriv' && options.has('reset-env');
  const kept = clears
    ? Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('KUMA_')))
    : env;
  const unset = program === 'env' ? [...(options.get('u') ?? []), ...(options.get('unset') ?? [])] : [];
  return Object.fromEntries(Object.entries(kept).filter(([name]) => !unset.includes(name)));
}

/** The last given value of an option with several names. */
function lastOf(options: Options, names: readonly string[]): string | undefined {
  return names.map((name) => options.get(name)?.at(-1)).find((value) => value !== undefined);
}

function hasUser(argv: readonly string[]): boolean {
  return argv.some((word) => word.startsWith('-u') || word.startsWith('--user'));
}

function nameOf(word = ''): string {
  return word.slice(word.lastIndexOf('/') + 1);
}
