import { describe, expect, test } from 'vitest';

import {
  choiceOption,
  durationOption,
  durationOrWordOption,
  environmentName,
  listOption,
  pathOption,
  resolveConflict,
  resolveOptions,
  switchOption,
  textOption,
  type OptionTable,
} from '../../../kernel/options.ts';

const PREFIX = 'APP_';

const TABLE = {
  budgetMs: durationOption({ flag: 'stop-budget', default: '60s', min: '1s', help: '' }),
  settle: durationOrWordOption({ flag: 'settle', words: ['auto'], default: 'auto', help: '' }),
  lifecycle: choiceOption({ flag: 'lifecycle', choices: ['cp', 'agent'], default: 'cp', help: '' }),
  file: textOption({ flag: 'file', placeholder: 'FILE', help: '' }),
  dir: pathOption({ flag: 'dir', placeholder: 'DIR', default: '/run/app', help: '' }),
  strict: switchOption({ flag: 'strict', help: '' }),
  endpoints: listOption<string>({
    flag: 'endpoint',
    placeholder: 'URL',
    help: '',
    item: (text) => (text.startsWith('http') ? { value: text } : { problem: 'expected a URL' }),
  }),
} as const;

interface Given {
  readonly flags?: Readonly<Record<string, readonly string[]>>;
  readonly env?: Readonly<Record<string, string>>;
}

function resolve<Table extends OptionTable>(table: Table, { flags = {}, env = {} }: Given) {
  return resolveOptions(table, { flags: new Map(Object.entries(flags)), env, envPrefix: PREFIX });
}

describe('resolveOptions()', () => {
  test('takes the defaults where nothing is given', () => {
    expect(resolve(TABLE, {})).toEqual({
      values: {
        budgetMs: 60_000,
        settle: 'auto',
        lifecycle: 'cp',
        file: undefined,
        dir: '/run/app',
        strict: false,
        endpoints: [],
      },
      origins: {
        budgetMs: 'default',
        settle: 'default',
        lifecycle: 'default',
        file: 'default',
        dir: 'default',
        strict: 'default',
        endpoints: 'default',
      },
      problems: [],
      ignored: [],
    });
  });

  test.for<{ readonly name: string; readonly given: Given; readonly value: number; readonly origin: string }>(
    [
      {
        name: 'a flag wins over the environment',
        given: { flags: { 'stop-budget': ['5s'] }, env: { APP_STOP_BUDGET: '9s' } },
        value: 5_000,
        origin: 'flag',
      },
      {
        name: 'the environment wins over the default',
        given: { env: { APP_STOP_BUDGET: '9s' } },
        value: 9_000,
        origin: 'environment',
      },
      {
        name: 'an empty variable is none',
        given: { env: { APP_STOP_BUDGET: '' } },
        value: 60_000,
        origin: 'default',
      },
      {
        name: 'a variable of another program is none',
        given: { env: { OTHER_STOP_BUDGET: '9s' } },
        value: 60_000,
        origin: 'default',
      },
    ],
  )('$name', ({ given, value, origin }) => {
    const { values, origins, problems } = resolve(TABLE, given);
    expect({ value: values.budgetMs, origin: origins.budgetMs, problems }).toEqual({
      value,
      origin,
      problems: [],
    });
  });

  test.for<{ readonly given: Given; readonly values: object }>([
    { given: { flags: { settle: ['auto'] } }, values: { settle: 'auto' } },
    { given: { flags: { settle: ['3s'] } }, values: { settle: 3_000 } },
    { given: { flags: { settle: ['0'] } }, values: { settle: 0 } },
    { given: { flags: { lifecycle: ['agent'] } }, values: { lifecycle: 'agent' } },
    { given: { flags: { file: ['a b'] } }, values: { file: 'a b' } },
    { given: { flags: { dir: ['/tmp'] } }, values: { dir: '/tmp' } },
    { given: { flags: { strict: [''] } }, values: { strict: true } },
    { given: { flags: { strict: ['false'] } }, values: { strict: false } },
    { given: { env: { APP_STRICT: 'yes' } }, values: { strict: true } },
    { given: { env: { APP_STRICT: 'on' } }, values: { strict: true } },
    { given: { env: { APP_STRICT: '1' } }, values: { strict: true } },
    { given: { env: { APP_STRICT: '0' } }, values: { strict: false } },
    {
      given: { flags: { endpoint: ['http://a', 'http://b'] } },
      values: { endpoints: ['http://a', 'http://b'] },
    },
    {
      given: { env: { APP_ENDPOINT: 'http://a, http://b  http://c' } },
      values: { endpoints: ['http://a', 'http://b', 'http://c'] },
    },
  ])('$given gives $values', ({ given, values }) => {
    const resolved = resolve(TABLE, given);
    expect(resolved.problems).toEqual([]);
    expect(resolved.values).toMatchObject(values);
  });

  test('lists all problems together, each naming flag, environment variable and value', () => {
    const { problems, values } = resolve(TABLE, {
      flags: {
        'stop-budget': ['soon'],
        settle: ['never'],
        lifecycle: ['both'],
        file: [''],
        dir: ['/a', '/b'],
        strict: ['maybe'],
      },
      env: { APP_ENDPOINT: 'http://a ftp://b' },
    });
    expect(problems).toEqual([
      '--stop-budget (APP_STOP_BUDGET): expected a duration such as "30s" or "1m30s": "soon"',
      '--settle (APP_SETTLE): expected a duration such as "30s", or auto: "never"',
      '--lifecycle (APP_LIFECYCLE): expected cp, agent: "both"',
      '--file (APP_FILE): must not be empty: ""',
      '--dir (APP_DIR): given more than once: "/a", "/b"',
      '--strict (APP_STRICT): expected true or false: "maybe"',
      '--endpoint (APP_ENDPOINT): expected a URL: "http://a ftp://b"',
    ]);
    expect(values).toEqual(resolve(TABLE, {}).values);
  });

  test('a duration below its minimum is a problem', () => {
    expect(resolve(TABLE, { flags: { 'stop-budget': ['999ms'] } }).problems).toEqual([
      '--stop-budget (APP_STOP_BUDGET): must be at least 1s: "999ms"',
    ]);
    expect(resolve(TABLE, { flags: { 'stop-budget': ['1s'] } }).problems).toEqual([]);
  });

  test('the value of a secret is not repeated in a problem', () => {
    const table = {
      token: {
        ...choiceOption({ flag: 'token', choices: ['a'], default: 'a', help: '' }),
        secret: true as const,
      },
    };
    expect(resolve(table, { flags: { token: ['hunter2'] } }).problems).toEqual([
      '--token (APP_TOKEN): expected a: [redacted]',
    ]);
  });

  test('the values cannot be changed afterwards', () => {
    expect(Object.isFrozen(resolve(TABLE, {}).values)).toBe(true);
  });
});

describe('durationOption()', () => {
  test('refuses a default that is no duration: a bug, not a setting', () => {
    expect(() => durationOption({ flag: 'x', default: 'soon', help: '' })).toThrow(
      new TypeError('Not a duration: "soon"'),
    );
  });
});

describe('option tables', () => {
  test.for([
    { option: TABLE.budgetMs, placeholder: 'DURATION', defaultText: '60s' },
    { option: TABLE.settle, placeholder: 'DURATION|auto', defaultText: 'auto' },
    { option: TABLE.lifecycle, placeholder: 'cp|agent', defaultText: 'cp' },
    { option: TABLE.file, placeholder: 'FILE', defaultText: '' },
    { option: TABLE.dir, placeholder: 'DIR', defaultText: '/run/app' },
    { option: TABLE.strict, placeholder: undefined, defaultText: 'off' },
    { option: TABLE.endpoints, placeholder: 'URL', defaultText: '' },
  ])('--$option.flag says what it takes and what it defaults to', ({ option, placeholder, defaultText }) => {
    expect(option.placeholder).toBe(placeholder);
    expect(option.defaultText).toBe(defaultText);
  });

  test('an option that is derived says from what', () => {
    const derived = textOption({ flag: 'ca', placeholder: 'FILE', derived: "kuma-dp's", help: '' });
    expect({ text: derived.defaultText, fallback: derived.fallback }).toEqual({
      text: "kuma-dp's",
      fallback: undefined,
    });
  });
});

describe('environmentName()', () => {
  test('is the flag in capitals behind the prefix', () => {
    expect(environmentName('KUMA_DP_AGENT_', 'stop-budget')).toBe('KUMA_DP_AGENT_STOP_BUDGET');
  });
});

describe('resolveOptions(), lenient', () => {
  const lenient = (given: Given) =>
    resolveOptions(TABLE, {
      flags: new Map(Object.entries(given.flags ?? {})),
      env: given.env ?? {},
      envPrefix: PREFIX,
      lenient: true,
    });

  test.for<{
    readonly env: Record<string, string>;
    readonly key: keyof typeof TABLE;
    readonly holds: unknown;
  }>([
    { env: { APP_STOP_BUDGET: 'abc' }, key: 'budgetMs', holds: 60_000 },
    { env: { APP_STOP_BUDGET: '10ms' }, key: 'budgetMs', holds: 60_000 },
    { env: { APP_SETTLE: '-' }, key: 'settle', holds: 'auto' },
    { env: { APP_LIFECYCLE: 'me' }, key: 'lifecycle', holds: 'cp' },
    { env: { APP_STRICT: 'maybe' }, key: 'strict', holds: false },
    { env: { APP_ENDPOINT: 'http://a, ftp://b' }, key: 'endpoints', holds: [] },
  ])('$env is ignored and said; the default holds', ({ env, key, holds }) => {
    const { values, origins, problems, ignored } = lenient({ env });
    expect({ holds: values[key], origin: origins[key], problems }).toEqual({
      holds,
      origin: 'default',
      problems: [],
    });
    expect(ignored).toEqual([expect.stringContaining(Object.keys(env)[0] ?? '')]);
  });

  test('the same on the command line is a problem, whatever the environment says', () => {
    const given = { flags: { 'stop-budget': ['abc'] }, env: { APP_STOP_BUDGET: '30s' } };
    expect(lenient(given)).toMatchObject({ problems: [expect.stringContaining('"abc"')], ignored: [] });
  });

  test('a valid flag overrides an invalid environment', () => {
    const given = { flags: { 'stop-budget': ['30s'] }, env: { APP_STOP_BUDGET: 'abc' } };
    expect(lenient(given)).toMatchObject({ values: { budgetMs: 30_000 }, problems: [], ignored: [] });
  });
});

describe('resolveConflict()', () => {
  const conflict = { keys: ['budgetMs', 'strict'], problem: 'they contradict each other' } as const;
  const given = { flags: { 'stop-budget': ['30s'] }, env: { APP_STRICT: 'true' } };

  test("ignores the environment's part of it", () => {
    expect(resolveConflict(TABLE, resolve(TABLE, given), conflict)).toMatchObject({
      values: { budgetMs: 30_000, strict: false },
      origins: { budgetMs: 'flag', strict: 'default' },
      problems: [],
      ignored: [conflict.problem],
    });
  });

  test('is a problem if all of it is on the command line', () => {
    const onLine = { flags: { 'stop-budget': ['30s'], strict: ['true'] } };
    expect(resolveConflict(TABLE, resolve(TABLE, onLine), conflict)).toMatchObject({
      values: { budgetMs: 30_000, strict: true },
      problems: [conflict.problem],
      ignored: [],
    });
  });
});
