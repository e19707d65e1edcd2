import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const DOCS = join(import.meta.dirname, '..', '..', '..', 'docs', 'install');

/**
 * A fenced block of a page in `docs/install/`, as it stands there: the one after the comment `<!-- NAME -->`.
 *
 * @throws Error if there is none, or more than one
 */
export function documented(page: string, name: string): string {
  const text = readFileSync(join(DOCS, page), 'utf8');
  const [block, ...more] = text.split(`<!-- ${name} -->\n`).slice(1);
  const body = /^\n*```\w*\n(.*?)\n```$/ms.exec(block ?? '')?.[1];
  if (body === undefined || more.length > 0)
    throw new Error(`docs/install/${page} has no block "${name}", or several`);
  return `${body}\n`;
}

/**
 * Replaces the paths and addresses that every page uses by a test's own, and changes nothing else.
 *
 * @throws Error if none of `places` is in the text: the test would run something else than it claims
 */
export function filledIn(text: string, places: ReadonlyMap<string, string>): string {
  // The longest first: one path is the beginning of another.
  const wanted = [...places.keys()].toSorted((a, b) => b.length - a.length);
  const pattern = new RegExp(wanted.map((place) => RegExp.escape(place)).join('|'), 'g');
  const filled = text.replace(pattern, (place) => places.get(place) ?? place);
  if (filled === text) throw new Error(`Nothing to fill in: ${text}`);
  return filled;
}
