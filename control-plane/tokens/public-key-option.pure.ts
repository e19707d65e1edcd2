import type { OptionReading } from '../../kernel/options.ts';

/** A public key that an operator mounted. */
export interface PublicKeyFile {
  /** Empty: good for every mesh. */
  readonly mesh: string;
  readonly kid: string;
  readonly path: string;
}

/** Reads a value of `--public-key`: `[MESH/]KID=FILE`. */
export function readPublicKeyOption(text: string): OptionReading<PublicKeyFile> {
  const match = /^(?:([^=/]+)\/)?([^=/]+)=(.+)$/.exec(text);
  if (match === null) return { problem: 'expected [MESH/]KID=FILE' };
  const [, mesh = '', kid = '', path = ''] = match;
  return { value: { mesh, kid, path } };
}
