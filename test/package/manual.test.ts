import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';

import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';

import { AGENT_PROGRAM } from '../../scripts/package/agent-program.ts';
import { DEREGISTRAR_PROGRAM } from '../../scripts/package/deregistrar-program.ts';
import { manualPage } from '../../scripts/package/manual-page.ts';
import type { PackageName } from '../support/packages/build-packages.ts';
import { PackageFile } from '../support/packages/package-file.ts';
import { TemporaryDir } from '../support/world/temporary-dir.ts';

interface Said {
  readonly out: string;
  readonly complaints: string;
}

function tool(command: string, argv: readonly string[], env: Record<string, string> = {}): Said {
  const { stdout, stderr, error } = spawnSync(command, argv, {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
  if (error !== undefined) throw error;
  return { out: stdout, complaints: stderr };
}

/** What two different formatters have against a page. */
function complaintsAbout(page: string, section: string): readonly string[] {
  using dir = new TemporaryDir();
  const file = dir.join(`page.${section}`);
  writeFileSync(file, page);
  const mandoc = tool('mandoc', ['-T', 'lint', '-W', 'all', file]);
  const man = tool('man', ['--warnings', '--local-file', file], { MANROFFOPT: '', LC_ALL: 'C.UTF-8' });
  return `${mandoc.out}${mandoc.complaints}${man.complaints}`.split('\n').filter((line) => line !== '');
}

describe.each([
  { program: AGENT_PROGRAM, page: 'usr/share/man/man1/kuma-dp-agent.1.gz' },
  { program: DEREGISTRAR_PROGRAM, page: 'usr/share/man/man8/kuma-deregistrar.8.gz' },
])('the manual page of $program.name', ({ program, page }) => {
  let unpacked: PackageFile;
  let help: (command: string) => string;

  beforeAll(() => {
    unpacked = new PackageFile(inject('packageFolder'), program.name as PackageName);
    help = (command) => tool(unpacked.program, [command, '--help']).out;
  });

  afterAll(() => {
    unpacked[Symbol.dispose]();
  });

  test('is rendered without a complaint, and would not be with a broken request', () => {
    expect(complaintsAbout(unpacked.read(page), program.section)).toEqual([]);
    expect(complaintsAbout(`${unpacked.read(page)}.XX broken\n`, program.section).join('\n')).toMatch(/XX/);
  });

  test('has every command that the program has', () => {
    const usage = tool(unpacked.program, ['--help']).out;
    const commands = usage
      .split('\n')
      .filter((line) => line.startsWith(`  ${program.name} `))
      .map((line) => line.trim().split(' ')[1] ?? '');
    expect(Object.keys(program.commands)).toEqual(commands);
  });

  test('has every option that a command has, as its own help says it', () => {
    for (const [name, { options: table }] of Object.entries(program.commands)) {
      const options = help(name).matchAll(/^ {2}--([a-z-]+)/gm);
      expect(
        Object.values(table).map(({ flag }) => flag),
        name,
      ).toEqual([...options].map(([, flag]) => flag));
    }
  });

  test('reads as it is meant on a terminal', () => {
    using dir = new TemporaryDir();
    writeFileSync(dir.join('page'), unpacked.read(page));
    const { out } = tool('man', ['--local-file', dir.join('page')], { MANWIDTH: '100', LC_ALL: 'C.UTF-8' });
    for (const [name, { says, options: table }] of Object.entries(program.commands)) {
      expect(out, name).toMatch(new RegExp(`^ {3}${name}( |$)`, 'm'));
      expect(out.replaceAll(/\s+/g, ' ')).toContain(says);
      for (const { flag } of Object.values(table))
        expect(out).toMatch(new RegExp(`^ {7}--${flag}( |$)`, 'm'));
    }
  });
});

test('a manual page takes nothing of a text for a request', () => {
  const page = manualPage(
    {
      ...AGENT_PROGRAM,
      description: ['.SH not a title', "'br is no break", 'a \\fB backslash'],
      commands: {},
      sections: [],
    },
    { epoch: 0, version: '1' },
  );
  const [, described = ''] = page.split(/^\.SH DESCRIPTION\n|\n\.SH COMMANDS$/m);
  expect(described.split('\n')).toEqual([
    '\\&.SH not a title',
    '.PP',
    "\\&'br is no break",
    '.PP',
    'a \\efB backslash',
    '.PP',
    'A flag wins over its environment variable, which stands in parentheses.',
    'Durations are written as 30s or 1m30s.',
  ]);
});
