import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The Kuma lines whose answers were recorded from running control planes and Envoys. */
export const RECORDED_VERSIONS = ['2.10.1', '2.14.3', '3.0.0-preview'] as const;
export type RecordedVersion = (typeof RECORDED_VERSIONS)[number];

const RECORDED = join(import.meta.dirname, 'recorded');

/** A recorded file as text, such as an answer of Envoy's admin. */
export function recordedText(version: RecordedVersion, file: string): string {
  const own = join(RECORDED, version, file);
  return readFileSync(existsSync(own) ? own : join(RECORDED, 'every-version', file), 'utf8');
}

/** A recorded answer of the API server. */
export function recordedAnswer(
  version: RecordedVersion,
  name: string,
): { readonly status: number; readonly body: unknown } {
  const { status, body } = JSON.parse(recordedText(version, `${name}.json`)) as {
    readonly status: number;
    readonly body: unknown;
  };
  return { status, body };
}
