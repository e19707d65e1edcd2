import vm from 'node:vm';

import { describe, expect, test } from 'vitest';

import { entryModule } from '../../../scripts/launcher.ts';

/** Runs the entry on a Node of that version. */
function runOn(version: string): {
  readonly said: string;
  readonly code: number | undefined;
  readonly did: string[];
} {
  const did: string[] = [];
  let said = '';
  let code: number | undefined;
  const files = {
    writeSync: (_fd: number, text: string) => (said += text),
    writeFileSync: (path: string, text: string) => did.push(`${path} ${text}`),
  };
  const process = {
    versions: { node: version },
    version: `v${version}`,
    execPath: '/usr/bin/node',
    exit: (status: number) => {
      code = status;
      throw new Error('has ended');
    },
  };
  const load = (id: string): unknown => (id === 'fs' ? files : did.push(`loads ${id}`));
  try {
    vm.runInNewContext(entryModule('kuma-dp-agent'), { process, require: load });
  } catch (error) {
    if (code === undefined) throw error;
  }
  return { said, code, did };
}

describe('the first file that Node reads', () => {
  test.for(['24.0.0', '24.21.0', '26.1.0'])(
    'names the process and loads the program on Node %s',
    (version) => {
      expect(runOn(version)).toEqual({
        said: '',
        code: undefined,
        did: ['/proc/self/comm kuma-dp-agent', 'loads ./program.js'],
      });
    },
  );

  test.for(['23.11.0', '18.19.1', '4.9.1', '0.12.18'])('refuses Node %s in one line', (version) => {
    const { said, code, did } = runOn(version);
    expect(said).toBe(
      `kuma-dp-agent: Cannot start: it needs Node.js 24 or later, and /usr/bin/node is v${version}. ` +
        'Install Node.js 24 or later (nodejs.org/en/download), or a package of this program: it brings its own\n',
    );
    expect({ code, did }).toEqual({ code: 78, did: [] });
  });

  test('is written in the language of an old Node', () => {
    expect(entryModule('kuma-dp-agent')).not.toMatch(/=>|`|\b(const|let|class|import|async)\b|\?\?|\?\./);
  });
});
