import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { exactStart, type StartBytes } from '../../../../agent/child/exact-start.pure.ts';
import { inheritedOf, NO_SIGNALS, shownEntry } from '../../../../agent/child/inherited.pure.ts';

const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1');

const OWN: StartBytes = { args: ['node', 'main.js', 'run', '--', 'kuma-dp', 'run'].map(bytes), env: [] };

function latin(text: string): string {
  return Buffer.from(text).toString('latin1');
}

const PLAIN = { signals: NO_SIGNALS, openFiles: 0n };

/** What Node makes of an environment. */
function decoded(env: readonly string[]): Record<string, string | undefined> {
  const names = env.map((entry) => entry.split('=')[0] ?? '');
  return Object.fromEntries(
    names.map((name) => {
      const text = Buffer.from(name, 'latin1').toString();
      const found = env.find((entry) => entry.startsWith(`${text}=`));
      const value = found?.slice(text.length + 1);
      return [text, value === undefined ? undefined : Buffer.from(value, 'latin1').toString()];
    }),
  );
}

function started(
  env: readonly string[],
  change: (env: Readonly<Record<string, string | undefined>>) => Record<string, string | undefined> = (
    a,
  ) => ({ ...a }),
): readonly string[] {
  const ownEnv = inheritedOf(decoded(env)).env;
  const wanted = { ...PLAIN, path: '/kuma-dp', argv: ['kuma-dp', 'run'], env: change(ownEnv) };
  return parts(exactStart(wanted, { ...OWN, env: env.map(bytes) }, ownEnv)).slice(7);
}

/** As `native/exec-bytes.c` reads them. */
function parts(block: Uint8Array): readonly string[] {
  const [size = '', ...texts] = Buffer.from(block).toString('latin1').split('\0');
  expect(Number(size)).toBe(block.length - size.length - 1);
  expect(texts.pop()).toBe('');
  return texts;
}

describe('every byte reaches kuma-dp', () => {
  test.for([
    ['what is text', ['PATH=/bin', 'my.var=5', 'empty=']],
    ['a value that is not UTF-8', ['PATH=/bin', 'bad=\xff\xfe']],
    ['a name that is not UTF-8', ['b\xe9=1', 'PATH=/bin']],
    ['a name that is there twice', ['A=1', 'B=2', 'A=3']],
    ['a text without "="', ['A=1', 'nonsense']],
    ['a text without a name', ['=1', 'A=\xff']],
    ['a byte order mark', ['A=\xef\xbb\xbfx', 'B=\xff']],
  ] as const)('%s', ([, env]) => {
    expect(started(env)).toEqual(env);
  });

  test('of a hidden variable as well, under its own name and in its place', () => {
    expect(started(['A=1', '\u000eODE_OPTIONS=\xff', '\u0001STARTED_WITH=0,0,0,', 'B=2'])).toEqual([
      'A=1',
      'NODE_OPTIONS=\xff',
      'B=2',
    ]);
  });

  test('of arguments, in their order if they look alike', () => {
    const own = { args: ['kuma-dp', '\xff', 'plain', '\xfe', 'run'].map(bytes), env: [] };
    const wanted = {
      path: '/opt/kuma-dp',
      argv: ['kuma-dp', '\ufffd', 'added', '\ufffd', 'run'],
      env: {},
      ...PLAIN,
    };
    expect(parts(exactStart(wanted, own, {}))).toEqual([
      '0000000000000000',
      '0000000000000000',
      '0000000000000000',
      '/opt/kuma-dp',
      '5',
      'kuma-dp',
      '\xff',
      'added',
      '\xfe',
      'run',
    ]);
  });
});

test('what is dropped, changed or added by the caller is, and the rest stays as it was', () => {
  const env = ['A=\xff', 'B=1', 'C=2', 'C=3', 'D=4'];
  expect(started(env, ({ A, C }) => ({ A, C, B: 'new', E: 'added' }))).toEqual([
    'A=\xff',
    'C=2',
    'C=3',
    'B=new',
    'E=added',
  ]);
});

test('without /proc the text that Node made of it is handed on', () => {
  const env = { A: '1', 'my.var': 'é' };
  const block = exactStart({ ...PLAIN, path: '/x', argv: ['x', 'é'], env }, { args: [], env: [] }, env);
  expect(parts(block).slice(3)).toEqual(['/x', '2', 'x', latin('é'), 'A=1', latin('my.var=é')]);
});

test('what the launcher found is said to the starter', () => {
  const sets = '0000000000000001,8000000000000000,0000000000000400';
  const { env, descriptors, ...found } = inheritedOf({ A: '1', '\u0001STARTED_WITH': `${sets},3 9 1000 ` });
  expect(env).toEqual({ A: '1' });
  expect(descriptors).toEqual([3, 9, 1_000]);
  const block = exactStart(
    { path: '/x', argv: ['x'], env, ...found },
    { args: [], env: [bytes('A=1')] },
    env,
  );
  expect(parts(block)).toEqual([...sets.split(','), '/x', '1', 'x', 'A=1']);
  expect(inheritedOf({}).descriptors).toBeUndefined();
});

test('hidden variables are restored, whatever follows their first byte', () => {
  fc.assert(
    fc.property(fc.constantFrom('N', 'O', 'S', 'U', 'L', 'G'), fc.uint8Array(), (first, rest) => {
      const entry = Uint8Array.of(first.charCodeAt(0), ...rest);
      const hidden = Uint8Array.from(entry);
      hidden[0] = first.charCodeAt(0) & ~0x40;
      expect(shownEntry(hidden)).toEqual(entry);
      expect(shownEntry(entry)).toEqual(entry);
    }),
  );
});
