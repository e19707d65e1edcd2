/** How the words of a program in front of kuma-dp are read up to the command that it starts. */
export interface Front {
  /** Options that take the next word as their value, by their letter or long name. */
  readonly valued?: readonly string[];
  /** Words in front of the command that are no options: a user, a priority, a time. */
  readonly operands?: number;
  /** `NAME=value` in front of the command sets variables. */
  readonly assigns?: true;
}

export const FRONTS: Readonly<Record<string, Front>> = {
  catchsegv: {},
  catatonit: {},
  chpst: { valued: words('u U b e d o p f c r t m l L n /') },
  chroot: { operands: 1 },
  chrt: { valued: words('T P D sched-runtime sched-period sched-deadline'), operands: 1 },
  doas: { valued: words('u C') },
  'dumb-init': { valued: words('r rewrite') },
  env: { valued: words('a argv0 u unset C chdir S split-string'), assigns: true },
  envdir: { operands: 1 },
  gosu: { operands: 1 },
  ionice: { valued: words('c n class classdata') },
  nice: { valued: words('n adjustment') },
  nohup: {},
  nsenter: { valued: words('t target S setuid G setgid') },
  numactl: {
    valued: words('i m N C p interleave membind cpunodebind physcpubind preferred'),
  },
  prlimit: {},
  's6-envdir': { operands: 1 },
  's6-setuidgid': { operands: 1 },
  setarch: { operands: 1 },
  setpriv: {
    valued: words(
      'ambient-caps inh-caps bounding-set ruid euid rgid egid reuid regid groups securebits pdeathsig ptracer selinux-label apparmor-profile',
    ),
  },
  setsid: {},
  setuidgid: { operands: 1 },
  softlimit: { valued: words('a c d f l m o p r s t') },
  stdbuf: { valued: words('i o e input output error') },
  'su-exec': { operands: 1 },
  sudo: {
    valued: words(
      'u g C D h p R r t T U user group close-from chdir host prompt chroot role type command-timeout',
    ),
    assigns: true,
  },
  taskset: { operands: 1 },
  timeout: { valued: words('s k signal kill-after'), operands: 1 },
  tini: { valued: words('p e') },
  'tini-static': { valued: words('p e') },
  unshare: {
    valued: words(
      'S setuid G setgid R root w wd propagation setgroups map-user map-users map-group map-groups monotonic boottime',
    ),
  },
};

const PLAIN = { valued: [], operands: 0, assigns: false };

export type Options = ReadonlyMap<string, readonly string[]>;

/** Options, assignments and operands of a program, up to the command that it starts. */
export function readFront(
  front: Front,
  argv: readonly string[],
): { readonly options: Options; readonly assigned: Record<string, string>; readonly length: number } {
  const options = new Map<string, string[]>();
  const assigned: Record<string, string> = {};
  const add = adder(options);
  const { valued, operands, assigns } = { ...PLAIN, ...front };
  let left = operands;
  let optionsEnd = false;
  let at = 1;
  for (; at < argv.length; at += 1) {
    const word = argv[at] ?? '';
    const [, name, value] = /^([^=-][^=]*)=(.*)$/s.exec(assigns ? word : '') ?? [];
    const isOption = !optionsEnd && word.startsWith('-');
    if (name !== undefined) assigned[name] = String(value);
    else if (isOption && word !== '--') at += readOption(word, { valued, next: argv[at + 1] ?? '', add });
    else if (isOption) optionsEnd = true;
    else if (left === 0) break;
    else left -= 1;
  }
  return { options, assigned, length: at };
}

function adder(options: Map<string, string[]>): (name: string, value: string) => void {
  return (name, value) => {
    options.set(name, [...(options.get(name) ?? []), value]);
  };
}

/** @returns how many words more it takes */
function readOption(
  word: string,
  {
    valued,
    next,
    add,
  }: {
    readonly valued: readonly string[];
    readonly next: string;
    readonly add: (name: string, value: string) => void;
  },
): number {
  if (word.startsWith('--')) {
    const [name = '', ...value] = word.slice(2).split('=');
    const takesNext = value.length === 0 && valued.includes(name);
    add(name, takesNext ? next : value.join('='));
    return takesNext ? 1 : 0;
  }
  // Only env has it: the same as -i.
  if (word === '-') add('-', '');
  // Letters may stand together; the first that takes a value takes the rest, or the next word.
  const letters = word.slice(1).split('');
  for (const [index, letter] of letters.entries()) {
    const rest = letters.slice(index + 1).join('');
    if (valued.includes(letter)) {
      add(letter, rest === '' ? next : rest);
      return rest === '' ? 1 : 0;
    }
    add(letter, '');
  }
  return 0;
}

/** Keeps each entry of the table on one line. */
export function words(text: string): readonly string[] {
  return text.split(' ');
}
