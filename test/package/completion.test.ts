import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';

import { AGENT_WORDS } from '../../agent/command-table.ts';
import { PackageFile } from '../support/packages/package-file.ts';
import { TemporaryDir } from '../support/world/temporary-dir.ts';

/** Splits the words as Readline does, and prints the proposals of the registered completion for the last one. */
const ASK_BASH = `
source "$1"
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
registered=$(complete -p "$1")
completer=\${registered#*-F }
"\${completer%% *}"
printf '%s\\n' "\${COMPREPLY[@]}"
`;

interface Row {
  readonly name: string;
  readonly words: readonly string[];
  readonly proposes: readonly string[];
}

const AGENT_COMMANDS = Object.keys(AGENT_WORDS.commands);

describe('completion', () => {
  let agent: PackageFile;
  let deregistrar: PackageFile;
  let dir: TemporaryDir;

  beforeAll(() => {
    agent = new PackageFile(inject('packageFolder'), 'kuma-dp-agent');
    deregistrar = new PackageFile(inject('packageFolder'), 'kuma-deregistrar');
    dir = new TemporaryDir();
    mkdirSync(dir.join('some folder'));
    writeFileSync(dir.join('stops.jsonl'), '');
    writeFileSync(dir.join('web 1.pem'), '');
  });

  afterAll(() => {
    for (const each of [agent, deregistrar, dir]) each[Symbol.dispose]();
  });

  function bash(words: readonly string[]): readonly string[] {
    const name = words[0] ?? '';
    const { root } = name === 'kuma-dp-agent' ? agent : deregistrar;
    const script = join(root, 'usr/share/bash-completion/completions', name);
    const out = execFileSync('bash', ['--norc', '-c', ASK_BASH, 'ask', script, ...words], {
      encoding: 'utf8',
      cwd: dir.path,
    });
    return out.split('\n').filter((line) => line !== '');
  }

  test.for<Row>([
    { name: 'commands', words: ['kuma-dp-agent', ''], proposes: AGENT_COMMANDS },
    { name: 'a command that has begun', words: ['kuma-dp-agent', 'dr'], proposes: ['drain'] },
    {
      name: 'options of that command',
      words: ['kuma-dp-agent', 'status', '--'],
      proposes: ['--state-dir', '--json', '--help'],
    },
    { name: 'no option of another one', words: ['kuma-dp-agent', 'status', '--life'], proposes: [] },
    {
      name: 'words of an option',
      words: ['kuma-dp-agent', 'run', '--lifecycle', ''],
      proposes: ['auto', 'cp', 'agent', 'external'],
    },
    {
      name: 'words behind "="',
      words: ['kuma-dp-agent', 'run', '--lifecycle', '=', 'a'],
      proposes: ['auto', 'agent'],
    },
    {
      name: 'words right behind "="',
      words: ['kuma-dp-agent', 'run', '--on-crash', '='],
      proposes: ['deregister', 'keep'],
    },
    {
      name: 'a word beside a free value',
      words: ['kuma-dp-agent', 'run', '--settle', ''],
      proposes: ['auto'],
    },
    { name: 'nothing for a free value', words: ['kuma-dp-agent', 'run', '--stop-budget', ''], proposes: [] },
    {
      name: 'files, with blanks',
      words: ['kuma-dp-agent', 'run', '--ca-file', 'w'],
      proposes: ['web 1.pem'],
    },
    { name: 'folders', words: ['kuma-dp-agent', 'status', '--state-dir', ''], proposes: ['some folder'] },
    { name: 'files as an operand', words: ['kuma-dp-agent', 'report', 'st'], proposes: ['stops.jsonl'] },
    { name: 'options of report', words: ['kuma-dp-agent', 'report', '--j'], proposes: ['--json'] },
    {
      name: 'where the wrapped command begins',
      words: ['kuma-dp-agent', 'plan', '--d'],
      proposes: ['--delete-external'],
    },
    {
      name: 'files of the wrapped command',
      words: ['kuma-dp-agent', 'run', '--', 'kuma-dp', 'run', 'st'],
      proposes: ['stops.jsonl'],
    },
    {
      name: 'nothing of ours behind "--"',
      words: ['kuma-dp-agent', 'run', '--', 'kuma-dp', '--life'],
      proposes: [],
    },
    { name: 'nothing behind version', words: ['kuma-dp-agent', 'version', ''], proposes: [] },
    { name: 'an operand that is a word', words: ['kuma-deregistrar', 'brake', 'rel'], proposes: ['release'] },
    {
      name: 'percentages',
      words: ['kuma-deregistrar', 'serve', '--brake-share', '1'],
      proposes: ['10%', '100%'],
    },
    {
      name: 'options of serve for doctor',
      words: ['kuma-deregistrar', 'doctor', '--kuma-'],
      proposes: ['--kuma-api', '--kuma-ca-file', '--kuma-client-cert-file', '--kuma-client-key-file'],
    },
  ])('in bash proposes $name', ({ words, proposes }) => {
    expect(bash(words)).toEqual(proposes);
  });

  test('in bash proposes programs behind "--", and leaves them to bash-completion where it is loaded', () => {
    expect(bash(['kuma-dp-agent', 'run', '--', 'setpri'])).toContain('setpriv');
    const script = join(agent.root, 'usr/share/bash-completion/completions/kuma-dp-agent');
    const loaded =
      'source "$1"; _command_offset() { echo "offset $1"; }; COMP_WORDS=(kuma-dp-agent run -- k) COMP_CWORD=3; _kuma_dp_agent';
    expect(execFileSync('bash', ['--norc', '-c', loaded, 'ask', script], { encoding: 'utf8' })).toBe(
      'offset 3\n',
    );
  });

  test.for(['kuma-dp-agent', 'kuma-deregistrar'])(
    'in bash has no fault that shellcheck finds: %s',
    (name) => {
      const { root } = name === 'kuma-dp-agent' ? agent : deregistrar;
      const script = join(root, 'usr/share/bash-completion/completions', name);
      expect(spawnSync('shellcheck', ['--shell', 'bash', script], { encoding: 'utf8' }).stdout).toBe('');
    },
  );

  test.for<{ readonly line: string; readonly proposes: readonly string[] }>([
    { line: 'kuma-dp-agent ', proposes: AGENT_COMMANDS },
    { line: 'kuma-dp-agent run --lifecycle ', proposes: ['auto', 'cp', 'agent', 'external'] },
    { line: 'kuma-dp-agent status --', proposes: ['--json', '--state-dir'] },
    { line: 'kuma-dp-agent run --ca-file w', proposes: ['web 1.pem'] },
    { line: 'kuma-dp-agent run -- kuma-dp sto', proposes: ['stops.jsonl'] },
    { line: 'kuma-deregistrar brake ', proposes: ['release'] },
  ])('in fish proposes what belongs behind "$line"', ({ line, proposes }) => {
    const name = line.split(' ')[0] ?? '';
    const { root } = name === 'kuma-dp-agent' ? agent : deregistrar;
    const script = join(root, 'usr/share/fish/vendor_completions.d', `${name}.fish`);
    const out = execFileSync(
      'fish',
      ['--no-config', '-c', 'source $argv[1]; complete --do-complete $argv[2]', script, line],
      {
        encoding: 'utf8',
        cwd: dir.path,
        env: { ...process.env, HOME: dir.path },
      },
    );
    const found = out.split('\n').flatMap((row) => (row === '' ? [] : [row.split('\t')[0] ?? '']));
    expect(found.map((word) => word.replaceAll('\\', '')).toSorted()).toEqual(proposes.toSorted());
  });

  test('in zsh proposes what belongs behind the line', () => {
    // One shell for all of them: its completion system takes seconds to start.
    const folders = [agent, deregistrar].map(({ root }) => join(root, 'usr/share/zsh/vendor-completions'));
    const all = dir.join('zsh');
    for (const folder of folders) cpSync(folder, all, { recursive: true });
    const wanted: Readonly<Record<string, readonly string[]>> = {
      'kuma-dp-agent ': AGENT_COMMANDS,
      'kuma-dp-agent run --lifecycle ': ['auto', 'cp', 'agent', 'external'],
      'kuma-dp-agent run --on-crash=': ['deregister', 'keep'],
      'kuma-dp-agent status --': ['--json', '--help', '--state-dir'],
      'kuma-dp-agent run --ca-file w': ['web 1.pem'],
      'kuma-dp-agent report st': ['stops.jsonl'],
      'kuma-dp-agent doctor ': ['--'],
      'kuma-dp-agent run -- kuma-dp sto': ['stops.jsonl'],
      'kuma-dp-agent run -- kuma-dp --life': [],
      'kuma-dp-agent version ': [],
      'kuma-deregistrar brake ': ['release'],
      'kuma-deregistrar serve --brake-share 1': ['10%', '100%'],
    };
    const ask = join(import.meta.dirname, '../support/packages/ask.zsh');
    const out = execFileSync('zsh', ['--no-rcs', '-o', 'extendedglob', ask, all, ...Object.keys(wanted)], {
      encoding: 'utf8',
      cwd: dir.path,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const found = out
      .split(/^$/m)
      .map((part) => [...part.matchAll(/^<(.*)>$/gm)].map(([, word = '']) => word).toSorted());
    expect(Object.fromEntries(Object.keys(wanted).map((line, at) => [line, found[at]]))).toEqual(
      Object.fromEntries(Object.entries(wanted).map(([line, words]) => [line, words.toSorted()])),
    );
  });
});
