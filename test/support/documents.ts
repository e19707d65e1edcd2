import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

export const ROOT = join(import.meta.dirname, '..', '..');

/** A page of the documentation, by its path from the root: `docs/operate/host.md`. */
export interface Page {
  readonly path: string;
  readonly text: string;
}

/** README, everything below docs/, and the page of the examples. */
export function pages(): readonly Page[] {
  const below = readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name));
  return ['README.md', ...below.toSorted(), 'examples/README.md'].map((path) => ({
    path,
    text: readFileSync(join(ROOT, path), 'utf8'),
  }));
}

export interface Link {
  readonly page: string;
  readonly target: string;
}

/** Of inline links; what stands in code is no link. */
export function linksOf({ path, text }: Page): readonly Link[] {
  return [...withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => ({
    page: path,
    target,
  }));
}

/** @returns what is wrong with a relative link; `undefined` for one that leads somewhere, and for the web */
export function brokenLink({ page, target }: Link, all: readonly Page[]): string | undefined {
  if (/^[a-z]+:/.test(target)) return undefined;
  const [file = '', anchor] = target.split('#');
  const path = file === '' ? page : relative(ROOT, join(ROOT, dirname(page), file));
  if (!existsSync(join(ROOT, path))) return `${page}: there is no ${path}`;
  if (anchor === undefined) return undefined;
  if (statSync(join(ROOT, path)).isDirectory()) return `${page}: ${target} is a folder`;
  const found = all.find((one) => one.path === path);
  const there = found !== undefined && anchorsOf(found.text).includes(anchor);
  return there ? undefined : `${page}: ${path} has no heading #${anchor}`;
}

/** As GitHub makes them of headings: a second one of the same words gets `-1`. */
export function anchorsOf(text: string): readonly string[] {
  const seen = new Map<string, number>();
  return [...withoutFences(text).matchAll(/^#{1,6} +(.+?) *$/gm)].map(([, heading = '']) => {
    const slug = heading
      .toLowerCase()
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .replaceAll(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-');
    const before = seen.get(slug) ?? 0;
    seen.set(slug, before + 1);
    return before === 0 ? slug : `${slug}-${before}`;
  });
}

/** What stands in fenced blocks and in backticks, output included. */
export function codeOf(text: string): readonly string[] {
  return [...fencesOf(text).flatMap(({ lines }) => lines), ...inlineCodeOf(text)];
}

/** The rows of every table, heads included, each as its cells. A row may leave out the outer bars. */
export function rowsOf(text: string): readonly (readonly string[])[] {
  return [...withoutFences(text).matchAll(/^(.*\|.*\n)\|?[-:]+(?:\|[-:]+)+\|?\n((?:.*\S.*\n?)*)/gm)]
    .flatMap(([, head = '', body = '']) => `${head}${body}`.trimEnd().split('\n'))
    .map(cellsOf);
}

/** The cells of one row, without their padding. */
export function cellsOf(row: string): readonly string[] {
  const inner = row.trim().replaceAll(/^\||(?<!\\)\|$/g, '');
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim());
}

/** What a reader is to type: shell, changes of a unit, and in a session what follows its prompt. */
export function typedCommandsOf(text: string): readonly string[] {
  return fencesOf(text).flatMap(({ language, lines }) => {
    if (language === 'sh' || language === 'diff' || language === 'ini') return lines;
    return language === 'console' ? lines.filter((line) => line.startsWith('$ ')) : [];
  });
}

/** In backticks, on one line each. */
export function inlineCodeOf(text: string): readonly string[] {
  return [...withoutFences(text).matchAll(/`([^`]+)`/g)].map(([, code = '']) => code.replaceAll(/\s+/g, ' '));
}

/** A line that ends in a backslash goes on. */
function fencesOf(text: string): readonly { readonly language: string; readonly lines: readonly string[] }[] {
  return [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, language = '', block = '']) => ({
    language,
    lines: block.replaceAll(/\\\n\s*/g, ' ').split('\n'),
  }));
}

function withoutFences(text: string): string {
  return text.replaceAll(/^```.*\n[\s\S]*?^```$/gm, '');
}

function withoutCode(text: string): string {
  return withoutFences(text).replaceAll(/`[^`]*`/g, '');
}
