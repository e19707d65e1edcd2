/**
 * Makes the checkout a release of the version in package.json: dates the changelog and corrects file names in documents.
 *
 *   --check TAG   writes nothing; fails unless the tag is that version's and the changelog has its section
 *   --notes       writes nothing; prints the section
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

import { VERSION } from '../kernel/version.ts';
import { released, sectionOf } from './release/changelog.ts';
import { VERSIONED_FILES, withVersion } from './release/file-names.ts';

const { values } = parseArgs({ options: { check: { type: 'string' }, notes: { type: 'boolean' } } });
const changelog = readFileSync('CHANGELOG.md', 'utf8');
const section = sectionOf(changelog, VERSION);

try {
  if (values.check !== undefined || values.notes === true) {
    if (section === undefined)
      throw new Error(`CHANGELOG.md has no section ${VERSION}: npm run release writes it`);
    if (values.check !== undefined && values.check !== `v${VERSION}`)
      throw new Error(`The tag is ${values.check}, but package.json says ${VERSION}`);
    if (values.notes === true) console.log(section);
  } else {
    writeFileSync('CHANGELOG.md', released(changelog, VERSION, new Date().toISOString().slice(0, 10)));
    for (const document of VERSIONED_FILES)
      writeFileSync(document, withVersion(readFileSync(document, 'utf8'), VERSION));
    console.log(`Now commit as "chore(release): ${VERSION}" and tag it v${VERSION}`);
  }
} catch (error) {
  console.error(`Cannot release: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
