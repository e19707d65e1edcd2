import { readdirSync, readFileSync } from 'node:fs';

import { describe, expect, test } from 'vitest';

import { rowsOf } from '../support/documents.ts';

const PROGRAMS = [new URL('../../agent/', import.meta.url), new URL('../../control-plane/', import.meta.url)];
const DOCUMENT = readFileSync(new URL('../../docs/operate/messages.md', import.meta.url), 'utf8');
const SOURCES = PROGRAMS.map((program) =>
  readdirSync(program)
    .filter(isEvents)
    .map((file) => readFileSync(new URL(file, program), 'utf8'))
    .join('\n'),
);

/** A program's table of log lines: `events.ts`, `stop-events.ts` of the agent, and `witness-events.ts` of the companion. */
function isEvents(path: string): boolean {
  return /^(stop-|witness-)?events\.ts$/.test(path);
}

const CALL = /\blog\.(error|warn|info|debug)\(/g;
const NAMED_CALL = /\blog\.(error|warn|info|debug)\(\s*'([^']+)'/g;

interface Event {
  readonly name: string;
  readonly level: string;
}

function byName(a: Event, b: Event): number {
  return a.name.localeCompare(b.name);
}

function eventsOf(source: string): readonly Event[] {
  return [...source.matchAll(NAMED_CALL)].map(([, level = '', name = '']) => ({ name, level }));
}

const CODE = SOURCES.flatMap(eventsOf);

const ROWS = rowsOf(DOCUMENT.slice(0, DOCUMENT.indexOf('\n# Errors\n')))
  .filter(([first = '']) => first.startsWith('`'))
  .map(([name = '', level = '', meaning = '', remedy = '']) => ({
    name: name.replaceAll('`', ''),
    level,
    meaning,
    remedy,
  }));

describe('docs/operate/messages.md', () => {
  test('lists each event of the code with its level, and no other', () => {
    const listed = ROWS.map(({ name, level }) => ({ name, level }));
    expect(listed.toSorted(byName)).toEqual([...CODE].toSorted(byName));
  });

  test('says of each what it means', () => {
    expect(ROWS.filter(({ meaning }) => meaning.length < 20)).toEqual([]);
  });

  test('says what to do about every error but those that the report explains', () => {
    expect(ROWS.filter(({ level, remedy }) => level === 'error' && remedy === '')).toEqual([]);
  });
});

describe('events.ts', () => {
  test('names every event in the call itself, where it can be found', () => {
    for (const source of SOURCES) expect(eventsOf(source)).toHaveLength([...source.matchAll(CALL)].length);
  });

  test('has no event that no part logs', () => {
    for (const [at, source] of SOURCES.entries()) {
      const helpers = [...source.matchAll(/^ {4}(\w+): \(/gm)].map(([, name = '']) => name);
      expect(helpers.length).toBeGreaterThan(20);
      const program = PROGRAMS[at] ?? new URL('.', import.meta.url);
      const others = readdirSync(program, { recursive: true, encoding: 'utf8' })
        .filter((path) => path.endsWith('.ts') && !isEvents(path))
        .map((path) => readFileSync(new URL(path, program), 'utf8'))
        .join('\n');
      expect(helpers.filter((name) => !others.includes(`vents.${name}`))).toEqual([]);
    }
  });

  test('names no event twice in a program, and each as noun.past-participle', () => {
    for (const source of SOURCES) {
      const names = eventsOf(source).map(({ name }) => name);
      expect(new Set(names).size).toBe(names.length);
      for (const name of names) expect(name).toMatch(/^[a-z]+(-[a-z]+)*\.[a-z]+(-[a-z]+)*$/);
    }
  });

  test.for(PROGRAMS.map((program) => ({ program })))(
    'is the only place that logs in $program',
    ({ program }) => {
      const others = readdirSync(program, { recursive: true, encoding: 'utf8' }).filter(
        (path) => path.endsWith('.ts') && !isEvents(path),
      );
      expect(others.length).toBeGreaterThan(20);
      const logging = others.filter(
        (path) => readFileSync(new URL(path, program), 'utf8').match(NAMED_CALL) !== null,
      );
      expect(logging).toEqual([]);
    },
  );
});
