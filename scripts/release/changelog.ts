const UNRELEASED = '## Unreleased';

/** The text of a section, without its heading. @returns `undefined` if that version has none */
export function sectionOf(changelog: string, version: string): string | undefined {
  const sections = changelog.split(/^(?=## )/m);
  const section = sections.find((text) => text.startsWith(`## ${version} (`));
  return section?.slice(section.indexOf('\n')).trim();
}

/**
 * Turns `## Unreleased` into a section of its own with the date, under a new and empty one.
 *
 * @param date as in `2026-12-01`
 * @throws Error if nothing is unreleased, or the version has a section already
 */
export function released(changelog: string, version: string, date: string): string {
  if (sectionOf(changelog, version) !== undefined)
    throw new Error(`CHANGELOG.md has a section ${version} already: set the next version in package.json`);
  const start = changelog.indexOf(`${UNRELEASED}\n`);
  if (start === -1) throw new Error(`CHANGELOG.md has no "${UNRELEASED}"`);
  const rest = changelog.slice(start + UNRELEASED.length);
  const entries = rest.split(/^## /m)[0] ?? '';
  if (!/^- /m.test(entries)) throw new Error(`CHANGELOG.md has nothing under "${UNRELEASED}"`);
  return `${changelog.slice(0, start)}${UNRELEASED}\n\n## ${version} (${date})${rest}`;
}
