import type { Bundled } from './bundled.ts';

const RULE = '-'.repeat(78);

/** The file `copyright`: the program's holder and licence, and the full licence of everything that is bundled. */
export function copyright(
  program: { readonly name: string; readonly licence: string; readonly licenceText: string },
  bundled: readonly Bundled[],
): string {
  const byText = new Map<string, Bundled[]>();
  for (const part of bundled) {
    const text = part.licenceTexts.join(`\n\n`);
    byText.set(text, [...(byText.get(text) ?? []), part]);
  }
  const sections = [...byText].map(([text, parts]) => {
    const titles = parts.map(({ name, version, licence }) => `${name} ${version} (${licence})`);
    return `${RULE}\n${titles.join('\n')}\n${RULE}\n\n${text}\n`;
  });
  return `Copyright of ${program.name}: its developers.
Licence of its own code: ${program.licence}, as follows.

${program.licenceText.trimEnd()}

The package brings along what is listed in sbom.cdx.json, bundled into the program's
code or beside it, each part under its own copyright and licence, which follow. The
text of the Apache License 2.0 is also in /usr/share/common-licenses/Apache-2.0.

${sections.join('\n')}`;
}
