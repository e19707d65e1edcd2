import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

/** Each file imports one thing that its place forbids. */
const VIOLATIONS: readonly (readonly [file: string, imports: string])[] = [
  // The two programs.
  ['agent/stop/planted.pure.ts', '../../control-plane/evidence/guards.pure.ts'],
  ['agent/child/planted.io.ts', '../../control-plane/server/metrics.io.ts'],
  ['agent/commands/planted.ts', '../../control-plane/options.ts'],
  ['agent/main.ts', '../control-plane/options.ts'],
  ['control-plane/evidence/planted.ts', '../../agent/stop/step.pure.ts'],
  ['control-plane/commands/planted.ts', '../../agent/options.ts'],
  ['control-plane/rpc/admin/planted.ts', '../../../agent/options.ts'],
  // A package in a folder below both programs.
  ['kernel/planted.ts', 'pg'],
  ['kernel/planted-upwards.ts', '../program/open-log.ts'],
  ['kernel/planted-world.ts', 'node:fs'],
  ['kuma/planted.ts', '../control-plane/ports.ts'],
  ['kuma/planted-world.ts', 'node:http'],
  ['kuma/planted.io.ts', '../program/open-log.ts'],
  ['program/planted.ts', '../agent/options.ts'],
  ['program/planted-kuma.ts', '../kuma/rest-client.io.ts'],
  ['proto/planted.ts', '../control-plane/engine.ts'],
  ['proto/planted-kernel.ts', '../kernel/clock.ts'],
  // What decides.
  ['agent/stop/planted-shell.pure.ts', './supervisor.ts'],
  ['agent/stop/planted-node.pure.ts', 'node:fs'],
  ['agent/stop/planted-port.pure.ts', '../ports.ts'],
  ['agent/object/planted.pure.ts', '../../kuma/rest-client.io.ts'],
  ['agent/object/planted-program.pure.ts', '../../program/open-log.ts'],
  ['control-plane/evidence/planted.pure.ts', '../ports.ts'],
  ['control-plane/evidence/planted-shell.pure.ts', './zone-watch.ts'],
  ['control-plane/evidence/planted-package.pure.ts', 'jose'],
  ['control-plane/records.pure.ts', './ports.ts'],
  // The shell.
  ['agent/stop/planted.ts', 'node:fs'],
  ['agent/stop/planted-promises.ts', 'node:fs/promises'],
  ['agent/stop/planted-timers.ts', 'node:timers'],
  ['agent/stop/planted-command.ts', '../commands/run.ts'],
  ['agent/stop/planted-io.ts', '../state/state-file.io.ts'],
  ['agent/object/planted-io.ts', './kuma-rest-endpoint.io.ts'],
  ['agent/object/planted-kuma.ts', '../../kuma/rest-client.io.ts'],
  ['agent/companion/planted.ts', '@grpc/grpc-js'],
  ['agent/ports.ts', './state/state-file.io.ts'],
  ['control-plane/evidence/planted-store.ts', '../store/open-store.ts'],
  ['control-plane/departures/planted.ts', '../rpc/attach.ts'],
  // Folders and packages that are not listed.
  ['agent/envoy/planted.io.ts', '@grpc/grpc-js'],
  ['agent/envoy/planted-folder.io.ts', '../metrics/metrics.io.ts'],
  ['control-plane/tokens/planted.io.ts', 'pg'],
  ['control-plane/store/planted.ts', '../server/metrics.io.ts'],
  ['control-plane/rpc/planted.ts', '../commands/serve.ts'],
];

const ALLOWED: readonly (readonly [file: string, imports: string])[] = [
  ['agent/stop/allowed.pure.ts', './step.pure.ts'],
  ['agent/stop/allowed-other.pure.ts', '../child/exit-status.pure.ts'],
  ['agent/stop/allowed-zod.pure.ts', 'zod/mini'],
  ['agent/stop/allowed-kuma.pure.ts', '../../kuma/overview.ts'],
  ['agent/stop/allowed.ts', '../ports.ts'],
  ['agent/stop/allowed.io.ts', 'node:fs/promises'],
  ['agent/commands/allowed.ts', '../state/state-file.io.ts'],
  ['agent/doctor/allowed.ts', 'node:fs'],
  ['control-plane/rpc/admin/allowed.ts', '../answers.ts'],
  ['control-plane/rpc/admin/allowed-proto.ts', '../../../proto/gen/deregistrar/v1/admin.ts'],
  ['control-plane/store/allowed.ts', 'kysely/migration'],
  ['kuma/allowed.io.ts', 'node:http'],
];

/** For a shell file: `import type` of what it may not import by value. */
const ALLOWED_TYPES: readonly (readonly [file: string, imports: string])[] = [
  ['agent/object/allowed-type.ts', './kuma-rest-endpoint.io.ts'],
  ['agent/companion/allowed-type.ts', '@grpc/grpc-js'],
  ['agent/stop/allowed-node-type.ts', 'node:http'],
];

const root = mkdtempSync(join(tmpdir(), 'layers-'));
let refused: ReadonlySet<string>;

beforeAll(async () => {
  for (const path of ['oxlint.config.ts', 'lint']) cpSync(path, join(root, path), { recursive: true });
  symlinkSync(join(process.cwd(), 'node_modules'), join(root, 'node_modules'));
  for (const [file, imports] of [...VIOLATIONS, ...ALLOWED])
    plant(file, `import { planted } from '${imports}';\nexport const again = planted;\n`);
  for (const [file, imports] of ALLOWED_TYPES) {
    plant(file, `import type { Planted } from '${imports}';\nexport type Again = Planted;\n`);
  }
  refused = await lint();
}, 60_000);

afterAll(() => {
  rmSync(root, { recursive: true });
});

describe('what lint says of an import', () => {
  it.each(VIOLATIONS)('%s may not import %s', (file) => {
    expect(refused).toContain(file);
  });

  it.each([...ALLOWED, ...ALLOWED_TYPES])('%s may import %s', (file) => {
    expect(refused).not.toContain(file);
  });
});

function plant(file: string, text: string): void {
  const path = join(root, file);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

/** The planted files in which an import is refused. */
async function lint(): Promise<ReadonlySet<string>> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const args = [
    'node_modules/oxlint/bin/oxlint',
    '-f',
    'json',
    'agent',
    'control-plane',
    'kernel',
    'kuma',
    'program',
    'proto',
  ];
  // Its exit status reports a violation, which the test expects.
  execFile(process.execPath, args, { cwd: root, maxBuffer: 64 * 2 ** 20 }, (_error, stdout) => {
    resolve(stdout);
  });
  const { diagnostics } = JSON.parse(await promise) as {
    readonly diagnostics: readonly { readonly code: string; readonly filename: string }[];
  };
  return new Set(
    diagnostics.filter(({ code }) => code.includes('no-restricted-imports')).map(({ filename }) => filename),
  );
}
