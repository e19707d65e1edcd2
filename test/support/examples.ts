import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { ROOT } from './documents.ts';

/** What every example tells kuma-dp. */
export const KUMA_DP_OPTIONS = [
  '--cp-address=https://cp.example:5678',
  '--dataplane-file=/etc/kuma-dp/dataplane.yaml',
  '--dataplane-token-file=/etc/kuma-dp/token',
  '--ca-cert-file=/etc/kuma-dp/ca.crt',
] as const;

/** A file below `examples/`. */
export function read(path: string): string {
  return readFileSync(join(ROOT, 'examples', path), 'utf8');
}

/** The dataplane's task of the Nomad job. */
export function nomadTask(): {
  readonly text: string;
  readonly source: string;
  readonly command: string;
  readonly args: readonly string[];
} {
  const [, text = ''] = read('nomad/web.nomad.hcl').split('task "kuma-dp"');
  const [, source = ''] = /source = "(.*)"/.exec(text) ?? [];
  const [, command = ''] = /command = "(.*)"/.exec(text) ?? [];
  const [, args = ''] = /args = \[(.*?),?\s*\]/s.exec(text) ?? [];
  return { text, source, command, args: JSON.parse(`[${args}]`) as string[] };
}

/** What the image that `docker/Dockerfile` builds puts in front of its command. */
export function imageEntrypoint(): readonly string[] {
  const text = readFileSync(join(ROOT, 'docker/Dockerfile'), 'utf8');
  return JSON.parse(/^ENTRYPOINT (\[.*\])$/m.exec(text)?.[1] ?? '[]') as string[];
}
