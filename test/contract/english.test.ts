import { readdirSync, readFileSync, statSync } from 'node:fs';

import { describe, expect, test } from 'vitest';

import { rowsOf } from '../support/documents.ts';

const ROOT = new URL('../../', import.meta.url);

const GLOSSARY = readFileSync(new URL('docs/concepts/glossary.md', ROOT), 'utf8');

/** Words that leave the actor out. docs/concepts/glossary.md has the actors' words. */
const NAMELESS = /\b(?:whoever|nobody|somebody|anybody|whose streams|of whom)\b/i;

/** The name of an account of Unix systems, and this list itself. */
const QUOTES = new Set(["  for (const wanted of ['postgres', 'nobody']) {"]);

const TYPE = /^export (?:abstract )?(?:interface|type|class|enum) ([A-Z]\w*)/gm;

/** Folders that git ignores, and its own. There may be no git where the tests run. */
const NOT_OURS = /^(?:\.cache|\.git|coverage|dist[^/]*|node_modules)(?:\/|$)/;

function textFiles(): readonly string[] {
  const folders = readdirSync(ROOT).filter((name) => !NOT_OURS.test(name));
  return folders
    .flatMap((name) =>
      statSync(new URL(name, ROOT)).isDirectory()
        ? readdirSync(new URL(`${name}/`, ROOT), { recursive: true, encoding: 'utf8' }).map(
            (path) => `${name}/${path}`,
          )
        : [name],
    )
    .filter((path) => /\.(?:ts|md|html|proto|sh|yaml)$/.test(path))
    .filter((path) => path !== 'test/contract/english.test.ts');
}

describe('plain English', () => {
  test('every sentence of code, tests and pages names its actor', () => {
    const nameless = textFiles().flatMap((path) =>
      readFileSync(new URL(path, ROOT), 'utf8')
        .split('\n')
        .map((line, at) => ({ line, place: `${path}:${at + 1}` }))
        .filter(({ line }) => NAMELESS.test(line) && !QUOTES.has(line)),
    );
    expect(nameless).toEqual([]);
  });

  test('exported types of different files have different names', () => {
    const files = new Map<string, string[]>();
    for (const path of textFiles().filter(
      (each) => /(?<!\.d)\.ts$/.test(each) && !each.startsWith('proto/gen/'),
    ))
      for (const [, name = ''] of readFileSync(new URL(path, ROOT), 'utf8').matchAll(TYPE))
        files.set(name, [...(files.get(name) ?? []), path]);
    expect(files.size).toBeGreaterThan(500);
    expect([...files].filter(([, paths]) => paths.length > 1)).toEqual([]);
  });

  test('events and metrics use the words of docs/concepts/glossary.md', () => {
    const replaced = rowsOf(GLOSSARY)
      .flatMap(([, , words = '']) => words.split(', '))
      // The table's head, and words that are right for other things: the step `drain`, what holds a stop.
      .filter((word) => !['–', 'not', 'drain', 'hold', 'entry'].includes(word));
    expect(replaced.length).toBeGreaterThan(5);
    const names = ['docs/operate/messages.md', 'docs/reference/metrics.md'].flatMap((path) =>
      rowsOf(readFileSync(new URL(path, ROOT), 'utf8')).flatMap(
        ([first = '']) => /^`([a-z][\w.-]+)/.exec(first)?.[1] ?? [],
      ),
    );
    expect(names.length).toBeGreaterThan(100);
    expect(names.filter((name) => name.split(/[._-]/).some((part) => replaced.includes(part)))).toEqual([]);
  });
});
