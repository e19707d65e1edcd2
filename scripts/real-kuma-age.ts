/** Says in one line how old the last run of the suite on real Kuma is. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const PAGE = join(import.meta.dirname, '..', 'docs', 'develop', 'real-kuma.md');
const ROW = /^\| (\d{4}-\d{2}-\d{2}) \| (\S+) \| \S+ \| (\d+) \| (\d+) \|/m;
const DAY_MS = 86_400_000;

const [, date = '', version = '', passed = '', failed = ''] = ROW.exec(readFileSync(PAGE, 'utf8')) ?? [];
const days = Math.floor((Date.now() - Date.parse(date)) / DAY_MS);
console.log(
  `=== real Kuma: last run ${days} days ago (${date}), on ${version}: ${passed} passed, ${failed} failed`,
);
