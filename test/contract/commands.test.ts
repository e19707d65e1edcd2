import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { AGENT_WORDS } from '../../agent/command-table.ts';
import { DEREGISTRAR_WORDS } from '../../control-plane/command-table.ts';
import type { ProgramWords } from '../../kernel/commands.ts';
import { environmentName } from '../../kernel/options.ts';
import { commandHelp, helpWidth, programHelp } from '../../program/help.ts';
import { anchorsOf, ROOT } from '../support/documents.ts';
import { problemsOfShown } from '../support/shown-commands.ts';

const PROGRAMS: readonly ProgramWords[] = [AGENT_WORDS, DEREGISTRAR_WORDS];
const ANCHORS = anchorsOf(readFileSync(join(ROOT, 'docs/reference/options.md'), 'utf8'));

const COMMANDS = PROGRAMS.flatMap((program) =>
  Object.entries(program.commands).map(([name, words]) => ({ program, name, words })),
);

/** Longer than the line because it cannot be broken. */
function tooLong(help: string, width: number): readonly string[] {
  return help
    .split('\n')
    .filter((line) => line.length > width && line.trim().replace(/ \\$/, '').includes(' '));
}

describe.each(COMMANDS)('$program.name $name', ({ program, name, words }) => {
  test('--help begins with what it does, in one line', () => {
    const [first] = commandHelp(program, name, 80).split('\n');
    expect(first).toBe(words.says);
    expect(words.says).toMatch(/^[A-Z].*[^.]\.$/);
  });

  test('its example is a command that exists, with its options', () => {
    expect(words.example).toMatch(new RegExp(`^${name}( |$)`));
    expect(problemsOfShown(`${program.name} ${words.example}`)).toEqual([]);
    const shown = commandHelp(program, name, 60).split('Example:\n')[1]?.split('\n\n')[0] ?? '';
    expect(shown.replaceAll(/ \\\n +/g, ' ').trim()).toBe(`${program.name} ${words.example}`);
  });

  test('--help names the page, which has that heading', () => {
    expect(commandHelp(program, name, 80)).toContain(`docs/reference/options.md#${words.page}\n`);
    expect(ANCHORS).toContain(words.page);
  });

  test('--help has every option with its environment variable', () => {
    const help = commandHelp(program, name, 80);
    for (const { flag } of Object.values(words.options)) {
      expect(help).toMatch(new RegExp(`^ {2}--${flag}( |$)`, 'm'));
      expect(help).toContain(`(${environmentName(program.envPrefix, flag)})`);
    }
  });

  test('--help fits any terminal', () => {
    fc.assert(
      fc.property(fc.integer({ min: 40, max: 300 }), (width) => {
        expect(tooLong(commandHelp(program, name, width), width)).toEqual([]);
        expect(tooLong(programHelp(program, width), width)).toEqual([]);
      }),
      { numRuns: 20 },
    );
  });
});

test.for([
  { columns: 132, env: { COLUMNS: '60' }, width: 132 },
  { columns: undefined, env: { COLUMNS: '60' }, width: 60 },
  { columns: 0, env: {}, width: 80 },
  { columns: undefined, env: { COLUMNS: 'wide' }, width: 80 },
  { columns: undefined, env: { COLUMNS: '-5' }, width: 80 },
  { columns: 7, env: {}, width: 40 },
] as const)('a terminal of $columns columns and $env: help is $width wide', ({ columns, env, width }) => {
  expect(helpWidth(columns, env)).toBe(width);
});
