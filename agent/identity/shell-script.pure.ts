/** One command of a shell script, with the words as the shell passes them. */
export interface SimpleCommand {
  readonly words: readonly string[];
  /** The variables that it gets on top of the script's own. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly redirected: boolean;
  /** The operator or line feed that ends it; empty at the end of the script. */
  readonly endedBy: string;
}

export interface ScriptContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `$0`, then `$1` and the following. */
  readonly args: readonly string[];
}

/** Words that begin a compound command; the simple one begins behind them. */
const KEYWORDS: ReadonlySet<string> = new Set([
  'if',
  'then',
  'else',
  'elif',
  'while',
  'until',
  'do',
  '!',
  '{',
  'time',
]);
const OPERATORS = ['&&', '||', ';;', ';', '&', '|', '\n', '(', ')'];
const ASSIGNMENT = /^([A-Za-z_]\w*)=(.*)$/s;
const REDIRECTION = /^\d*(?:>>|>&|>\||<&|<>|<<|>|<)/;

/**
 * Reads a POSIX shell script as far as that is safe without running it: quotes, variables, assignments, operators.
 * What only running it would tell (`$(…)`, functions, patterns) stays in the words as it is written.
 *
 * @see POSIX.1-2024, Shell Command Language
 */
export function readScript(script: string, context: ScriptContext): readonly SimpleCommand[] {
  const commands: SimpleCommand[] = [];
  let env = { ...context.env };
  let words: string[] = [];
  let own: Record<string, string> = {};
  let redirected = false;
  const endCommand = (endedBy: string): void => {
    const [first = '', ...rest] = words;
    if (first === 'export') env = { ...env, ...own, ...assignments(rest) };
    else if (first === '') env = { ...env, ...own };
    else commands.push({ words, env: { ...env, ...own }, redirected, endedBy });
    [words, own, redirected] = [[], {}, false];
  };
  const lexer = new Lexer(script, context.args);
  for (let token = lexer.next(env); token !== undefined; token = lexer.next(env)) {
    if ('operator' in token) endCommand(token.operator);
    else if ('redirection' in token) redirected = true;
    else {
      const [, name, value] = words.length === 0 ? (ASSIGNMENT.exec(token.words[0] ?? '') ?? []) : [];
      if (name !== undefined) own[name] = value ?? '';
      else words.push(...(words.length === 0 && KEYWORDS.has(token.words[0] ?? '') ? [] : token.words));
    }
  }
  endCommand('');
  return commands;
}

function assignments(words: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    words.flatMap((word) => {
      const [, name, value] = ASSIGNMENT.exec(word) ?? [];
      return name === undefined ? [] : [[name, value ?? '']];
    }),
  );
}

type ShellEnv = ScriptContext['env'];
type ShellToken =
  | { readonly words: readonly string[] }
  | { readonly operator: string }
  | { readonly redirection: true };

class Lexer {
  readonly #text: string;
  readonly #args: readonly string[];
  #at = 0;

  constructor(text: string, args: readonly string[]) {
    this.#text = text;
    this.#args = args;
  }

  next(env: ShellEnv): ShellToken | undefined {
    this.#skipBlanks();
    if (this.#at >= this.#text.length) return undefined;
    const redirection = REDIRECTION.exec(this.#text.slice(this.#at, this.#at + 16));
    if (redirection !== null) {
      this.#at += redirection[0].length;
      this.#skipBlanks();
      this.#word(env);
      return { redirection: true };
    }
    const operator = OPERATORS.find((known) => this.#text.startsWith(known, this.#at));
    if (operator === undefined) return { words: this.#word(env) };
    this.#at += operator.length;
    return { operator };
  }

  /** Blanks, comments, and lines that go on. */
  #skipBlanks(): void {
    const blank = /(?:[ \t\r]|\\\r?\n)*(?:#[^\n]*)?/y;
    blank.lastIndex = this.#at;
    this.#at += blank.exec(this.#text)?.[0].length ?? 0;
  }

  /** Reads one word; an unquoted expansion can make several of it, or none. */
  #word(env: ShellEnv): readonly string[] {
    const words = [''];
    let quoted = false;
    const add = (text: string): void => {
      words[words.length - 1] += text;
    };
    while (this.#at < this.#text.length && !/[\s;&|()<>]/.test(this.#text[this.#at] ?? '')) {
      const char = this.#text[this.#at] ?? '';
      if (char === "'") {
        add(this.#single());
        quoted = true;
      } else if (char === '"') {
        const parts = this.#double(env);
        add(parts[0] ?? '');
        words.push(...parts.slice(1));
        quoted ||= parts.length > 0;
      } else if (char === '$') {
        const [first = '', ...more] = this.#variable(env).split(/[ \t\n]+/);
        add(first);
        words.push(...more);
      } else add(this.#plain());
    }
    return quoted ? words : words.filter(Boolean);
  }

  #plain(): string {
    const char = this.#text[this.#at] ?? '';
    this.#at += 1;
    if (char !== '\\') return char;
    const escaped = this.#text[this.#at] ?? '';
    this.#at += 1;
    return escaped === '\n' ? '' : escaped;
  }

  #single(): string {
    const end = this.#text.indexOf("'", this.#at + 1);
    const stop = end === -1 ? this.#text.length : end;
    const inside = this.#text.slice(this.#at + 1, stop);
    this.#at = stop + 1;
    return inside;
  }

  /** `"$@"` is a word for each argument, everything else is one. */
  #double(env: ShellEnv): readonly string[] {
    this.#at += 1;
    if (this.#text.startsWith('$@"', this.#at)) {
      this.#at += 3;
      return this.#args.slice(1);
    }
    let inside = '';
    while (this.#at < this.#text.length && this.#text[this.#at] !== '"') {
      const char = this.#text[this.#at] ?? '';
      if (char === '$') inside += this.#variable(env);
      else if (char === '\\' && !/["\\$`\n]/.test(this.#text[this.#at + 1] ?? '')) {
        inside += char;
        this.#at += 1;
      } else inside += this.#plain();
    }
    this.#at += 1;
    return [inside];
  }

  #variable(env: ShellEnv): string {
    const reference = /\$(?:\{([A-Za-z_]\w*|\d|[@*])(?::?([-?+=])([^}]*))?\}|([A-Za-z_]\w*|\d|[@*]))/y;
    reference.lastIndex = this.#at;
    const found = reference.exec(this.#text);
    if (found === null) return this.#substitution();
    this.#at += found[0].length;
    const [, braced, operator, word = '', bare] = found;
    const name = braced ?? bare ?? '';
    const value = /^[@*]$/.test(name)
      ? this.#args.slice(1).join(' ')
      : /^\d$/.test(name)
        ? this.#args[Number(name)]
        : env[name];
    if (operator === '+') return value === undefined ? '' : word;
    return value ?? (operator === '-' || operator === '=' ? word : '');
  }

  /** `$(…)` and what else is not read: as it is written, up to its end. */
  #substitution(): string {
    const from = this.#at;
    let depth = 0;
    do {
      if (this.#text[this.#at] === '(') depth += 1;
      if (this.#text[this.#at] === ')') depth -= 1;
      this.#at += 1;
    } while (
      this.#at < this.#text.length &&
      (depth > 0 || (this.#at === from + 1 && this.#text[this.#at] === '('))
    );
    return this.#text.slice(from, this.#at);
  }
}
