import { describe, expect, test } from 'vitest';

import { released, sectionOf } from '../../../scripts/release/changelog.ts';
import { shownVersions, withVersion } from '../../../scripts/release/file-names.ts';

const BEFORE = `# Changelog

## Unreleased

### Added

- One thing.

## 0.1.0 (2026-11-01)

- The first.
`;

describe('a release', () => {
  test('turns what is unreleased into a section with its date, under an empty one', () => {
    const after = released(BEFORE, '0.2.0', '2026-12-01');
    expect(after).toBe(BEFORE.replace('## Unreleased\n', '## Unreleased\n\n## 0.2.0 (2026-12-01)\n'));
    expect(sectionOf(after, '0.2.0')).toBe('### Added\n\n- One thing.');
    expect(sectionOf(after, '0.1.0')).toBe('- The first.');
    expect(sectionOf(after, '0.2')).toBeUndefined();
  });

  test.for([
    ['nothing new', released(BEFORE, '0.2.0', '2026-12-01'), '0.3.0', /nothing under/],
    ['a version that was released', BEFORE, '0.1.0', /section 0\.1\.0 already/],
    ['a changelog without its first heading', '# Changelog\n', '0.2.0', /has no/],
  ] as const)('refuses %s', ([, changelog, version, problem]) => {
    expect(() => released(changelog, version, '2026-12-01')).toThrow(problem);
  });
});

test('file names of packages get the version, and nothing else does', () => {
  const document = `apt install ./kuma-dp-agent_0.1.0-1_amd64.deb
dnf install ./kuma-deregistrar-0.1.0-1.x86_64.rpm
tar xf kuma-dp-agent-0.1.0-linux-x64.tar.gz
ARG AGENT_IMAGE=kuma-dp-agent:0.1.0
kuma_dp_agent_version: 0.1.0
kuma-dp-agent 0.1.0, Kuma 2.10.1`;
  expect(shownVersions(document)).toEqual(Array(5).fill('0.1.0'));
  const after = withVersion(document, '0.2.0');
  expect(shownVersions(after)).toEqual(Array(5).fill('0.2.0'));
  expect(after.split('\n').at(-1)).toBe('kuma-dp-agent 0.1.0, Kuma 2.10.1');
});
