import { describe, expect, test } from 'vitest';

import type { CommandTable } from '../../../kernel/commands.ts';
import { resolveOptions, switchOption, textOption } from '../../../kernel/options.ts';
import { carryOut, type Actions } from '../../../program/commands.ts';

const OPTIONS = {
  file: textOption({ flag: 'file', placeholder: 'FILE', help: 'A file' }),
  json: switchOption({ flag: 'json', help: 'As JSON' }),
} as const;

const about = { options: OPTIONS, says: 'Does it.', more: '', page: 'page' } as const;
const COMMANDS = {
  plain: { ...about, operands: '', takes: 'nothing', example: 'plain' },
  word: { ...about, operands: '[WORD]', takes: 'word', example: 'word a' },
  wrap: { ...about, operands: '-- COMMAND', takes: 'command', example: 'wrap -- kuma-dp' },
  maybe: { ...about, operands: '[-- COMMAND]', takes: 'command or nothing', example: 'maybe' },
  version: { ...about, options: {}, operands: '', takes: 'nothing', example: 'version' },
} as const satisfies CommandTable;

const action: Actions<typeof COMMANDS, unknown>['plain'] = {
  resolve: (sources) => resolveOptions(OPTIONS, { ...sources, envPrefix: 'A_' }),
  carryOut: ({ values, word, wrapped }) => ({ did: { ...values, word, wrapped } }),
};

async function say(...argv: readonly string[]): Promise<unknown> {
  return carryOut<typeof COMMANDS, unknown>(
    {
      words: { name: 'a', section: '1', summary: 'does things', envPrefix: 'A_', commands: COMMANDS },
      actions: { plain: action, word: action, wrap: action, maybe: action },
      env: { COLUMNS: '60', A_FILE: 'from-env' },
      print: (text) => ({ printed: text.split('\n')[0] }),
      refuse: (problems) => ({ refused: problems }),
    },
    argv,
  );
}

const DID = { file: 'from-env', json: false, word: undefined, wrapped: undefined };

describe('a command line', () => {
  test.for<{ readonly argv: readonly string[]; readonly did: object }>([
    { argv: ['plain'], did: DID },
    { argv: ['plain', '--file', 'f', '--json'], did: { ...DID, file: 'f', json: true } },
    { argv: ['word'], did: DID },
    { argv: ['word', 'one'], did: { ...DID, word: 'one' } },
    { argv: ['wrap', '--', 'kuma-dp', '--help'], did: { ...DID, wrapped: ['kuma-dp', '--help'] } },
    { argv: ['maybe'], did: DID },
    { argv: ['maybe', '--', 'kuma-dp'], did: { ...DID, wrapped: ['kuma-dp'] } },
  ])('$argv is carried out', async ({ argv, did }) => {
    expect(await say(...argv)).toEqual({ did });
  });

  test.for<{ readonly argv: readonly string[]; readonly refused: readonly unknown[] }>([
    { argv: [], refused: ['no command given', expect.stringContaining('plain, word, wrap, maybe, version')] },
    { argv: ['toString'], refused: ['unknown command "toString"', expect.stringContaining('a --help')] },
    { argv: ['help', 'fly'], refused: ['unknown command "fly"', expect.anything()] },
    { argv: ['plain', 'x'], refused: ['unexpected argument "x"'] },
    { argv: ['plain', '--', 'x'], refused: ['unexpected "--": it takes no command to wrap'] },
    { argv: ['word', 'one', 'two'], refused: ['unexpected argument "two"'] },
    { argv: ['version', 'x'], refused: ['unexpected argument "x"'] },
    { argv: ['version', '--json'], refused: ['unknown option --json'] },
    { argv: ['wrap'], refused: [expect.stringMatching(/^no "--": the command to wrap goes after it/)] },
    { argv: ['wrap', '--'], refused: ['no command after "--"'] },
    { argv: ['maybe', '--'], refused: ['no command after "--"'] },
    {
      argv: ['maybe', 'kuma-dp', 'run'],
      refused: ['kuma-dp', 'run'].map(
        (word) => `unexpected argument "${word}": kuma-dp's command goes after "--"`,
      ),
    },
    {
      argv: ['plain', '--file=', '--fly', 'x'],
      refused: ['unknown option --fly', 'unexpected argument "x"', '--file (A_FILE): must not be empty: ""'],
    },
  ])('$argv is refused, each problem in a sentence', async ({ argv, refused }) => {
    expect(await say(...argv)).toEqual({ refused });
  });

  test.for([
    { argv: ['--help'], printed: 'a does things.' },
    { argv: ['help'], printed: 'a does things.' },
    { argv: ['-h'], printed: 'a does things.' },
    { argv: ['help', 'plain'], printed: 'Does it.' },
    { argv: ['plain', '--help'], printed: 'Does it.' },
    { argv: ['wrap', '-h'], printed: 'Does it.' },
    { argv: ['version', '--help'], printed: 'Does it.' },
    { argv: ['version'], printed: expect.stringMatching(/^a \d+\.\d+\.\d+/) },
    { argv: ['--version'], printed: expect.stringMatching(/^a \d+\.\d+\.\d+/) },
  ])('$argv prints', async ({ argv, printed }) => {
    expect(await say(...argv)).toEqual({ printed });
  });
});
