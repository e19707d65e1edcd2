import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import { ROOT, rowsOf } from '../support/documents.ts';

const text = readFileSync(join(ROOT, 'docs', 'security', 'threat-model.md'), 'utf8');
const hardening = text.slice(text.indexOf('\n## Hardening in the units\n'));

/** The directives of a unit and its drop-in, without the directives that are switched off. */
function directivesOf(unit: string): readonly string[] {
  const files = unit === 'kuma-dp.service' ? [unit, 'kuma-dp-agent.conf'] : [unit];
  return files
    .flatMap((file) => readFileSync(join(ROOT, 'systemd', file), 'utf8').split('\n'))
    .filter((line) => /^[A-Z]\w+=(?!no$)/.test(line));
}

/** `ProtectSystem=full`, or the name of a directive alone. */
function named(part: string): readonly string[] {
  return [...part.matchAll(/`([A-Z][A-Za-z]+(?:=[^`]+)?)`/g)].map(([, name = '']) => name);
}

function lacking(unit: string, names: readonly string[]): readonly string[] {
  const set = directivesOf(unit);
  return names.filter((name) => !set.some((line) => line === name || line.startsWith(`${name}=`)));
}

/** The cells of the table's row that begins with this word. */
function row(title: string): readonly string[] {
  return (rowsOf(hardening).find(([first]) => first === title) ?? []).slice(1, 3);
}

describe('what docs/security/threat-model.md says of hardening', () => {
  const common = named(hardening.slice(0, hardening.indexOf('\n| |')));

  test.for(['kuma-dp.service', 'kuma-deregistrar.service'])('is in %s', (unit) => {
    expect(common.length).toBeGreaterThan(10);
    expect(lacking(unit, common)).toEqual([]);
  });

  test.for([
    ['kuma-dp.service', 0],
    ['kuma-deregistrar.service', 1],
  ] as const)('and so is what %s has for itself, and what it has not is not', ([unit, column]) => {
    const own = ['file system', 'own folders'].flatMap((title) => named(row(title)[column] ?? ''));
    expect(own.length).toBeGreaterThan(1);
    expect(lacking(unit, own)).toEqual([]);
    const absent = named(row('not set')[column] ?? '');
    expect(absent.length).toBeGreaterThan(0);
    expect(lacking(unit, absent)).toEqual(absent);
  });

  test.for(['kuma-dp.service', 'kuma-deregistrar.service'])('%s has a user of its own', (unit) => {
    const column = unit === 'kuma-dp.service' ? 0 : 1;
    const user = /`([a-z-]+)`/.exec(row('user')[column] ?? '')?.[1];
    expect(directivesOf(unit)).toContain(`User=${user}`);
  });
});
