import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';

import { describe, expect, test } from 'vitest';

import { anchorsOf, brokenLink, linksOf, pages, ROOT } from '../support/documents.ts';

const PAGES = pages();
const README = PAGES.find(({ path }) => path === 'README.md');

describe('links', () => {
  test.for(PAGES)('$path: every relative one leads to a file and a heading', (page) => {
    expect(linksOf(page).flatMap((link) => brokenLink(link, PAGES) ?? [])).toEqual([]);
  });

  test.for([
    ['docs/no-such-page.md', 'there is no docs/no-such-page.md'],
    ['docs/operate/messages.md#no-such-code', 'docs/operate/messages.md has no heading #no-such-code'],
    ['#no-such-part', 'README.md has no heading #no-such-part'],
  ] as const)('one to %s would be noticed', ([target, problem]) => {
    expect(brokenLink({ page: 'README.md', target }, PAGES)).toBe(`README.md: ${problem}`);
  });

  test.for([
    ['# A stop ends with SIGKILL', ['a-stop-ends-with-sigkill']],
    ['## Health feedback (HDS)\n## `KillMode=mixed`', ['health-feedback-hds', 'killmodemixed']],
    ['# doctor\n# doctor', ['doctor', 'doctor-1']],
    ['```sh\n# no heading\n```\n# run, plan', ['run-plan']],
  ] as const)('headings have the anchors that GitHub gives them: %j', ([text, anchors]) => {
    expect(anchorsOf(text)).toEqual(anchors);
  });
});

describe('files that a page speaks of', () => {
  const FILE =
    /(?<![\w/.-])((?:agent|control-plane|kernel|kuma|program|proto|test|bench|scripts|systemd|docs)\/[\w./-]+\.(?:ts|service|proto|md|html))\b/g;
  const BARE_TEST = /(?<![\w/.-])([\w-]+\.test\.ts)\b/g;
  const tests = readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' }).map((path) =>
    basename(path),
  );

  test.for(PAGES)('$path: are there', ({ text }) => {
    const named = [...text.matchAll(FILE)].map(([, file = '']) => file);
    const bare = [...text.matchAll(BARE_TEST)].map(([, file = '']) => file);
    expect(named.filter((file) => !existsSync(join(ROOT, file)))).toEqual([]);
    expect(bare.filter((file) => !tests.includes(file))).toEqual([]);
  });
});

const PROJECT_FILES = ['CHANGELOG.md', 'CONTRIBUTING.md', 'LICENSE', 'SECURITY.md'];

describe('the index in README.md', () => {
  test('names every page once', () => {
    const text = README?.text ?? '';
    const index = { path: 'README.md', text: text.slice(text.indexOf('\n## More\n')) };
    const named = linksOf(index).map(({ target }) => target);
    const wanted = PAGES.map(({ path }) =>
      path.startsWith('docs/develop/adr/') ? 'docs/develop/adr' : path,
    );
    const all = [...new Set([...PROJECT_FILES, ...wanted.filter((path) => path !== 'README.md')])];
    expect(named.toSorted()).toEqual(all.toSorted());
  });
});
