import { readFileSync } from 'node:fs';

import { expect, test } from 'vitest';

const BUNDLED = JSON.parse(
  readFileSync(new URL('../../dist/bundled-packages.json', import.meta.url), 'utf8'),
) as Readonly<Record<string, readonly string[]>>;

test('the agent loads no reader of .proto files: its messages are generated', () => {
  const packages = BUNDLED['kuma-dp-agent'] ?? [];
  expect(packages).toContain('node_modules/@grpc/grpc-js');
  expect(packages.filter((path) => /proto-loader|protobufjs/.test(path))).toEqual([]);
});
