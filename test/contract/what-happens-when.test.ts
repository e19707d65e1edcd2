import { readFileSync } from 'node:fs';

import { describe, expect, test } from 'vitest';

import { GUARDS } from '../../control-plane/evidence/guards.pure.ts';

const ROOT = new URL('../../', import.meta.url);
const DOCUMENT = read('docs/concepts/what-happens-when.md');

/** `- test/kuma/agent.test.ts: ² "a title"; ³ "another title"` */
const SOURCES = [...DOCUMENT.matchAll(/^- (test\/\S+): (.+)$/gm)].flatMap(([, file = '', titles = '']) =>
  [...titles.matchAll(/([¹²³⁰⁴-⁹]+) "([^"]+)"/g)].map(([, mark = '', title = '']) => ({ mark, file, title })),
);
const CITED = /[¹²³⁰⁴-⁹]+/g;

function read(path: string): string {
  return readFileSync(new URL(path, ROOT), 'utf8');
}

describe('docs/concepts/what-happens-when.md', () => {
  test('has a section for each guard, in their order, and no other', () => {
    const [, sections = ''] = DOCUMENT.split('# What holds a deletion back');
    const titles = [...sections.matchAll(/^## (.+)$/gm)].map(([, title]) => title);
    expect(titles).toEqual(Object.keys(GUARDS));
  });

  test('cites tests by file and title', () => {
    expect(SOURCES.length).toBeGreaterThan(25);
  });

  test.for(SOURCES)('$mark is a test that exists: $title', ({ file, title }) => {
    expect(read(file)).toContain(title);
  });

  test('each number that is cited has a source, and each source is cited', () => {
    const [tables = '', sources = ''] = DOCUMENT.split('## Where the numbers come from');
    const cited = new Set(tables.match(CITED));
    expect(new Set(sources.match(CITED))).toEqual(cited);
  });
});
