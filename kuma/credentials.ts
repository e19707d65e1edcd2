import { OperationalError } from '../kernel/errors.ts';

/** Characters that HTTP and gRPC accept in a header. They would otherwise quote the value in their error. */
const PRINTABLE = /^[\x21-\x7e]+$/;
const CERTIFICATE = '-----BEGIN CERTIFICATE-----';

/**
 * The token that a file has, or that was given inline.
 *
 * @param source what to call it in a message: `user token file "/etc/token"`
 * @throws `CONFIG_INVALID` that says what is wrong, without the token
 */
export function tokenIn(source: string, bytes: Uint8Array): string {
  const text = new TextDecoder().decode(bytes).trim();
  const problem = tokenProblem(text, bytes);
  if (problem === undefined) return text;
  throw new OperationalError('CONFIG_INVALID', `Cannot use ${source}: ${problem}`);
}

function tokenProblem(text: string, bytes: Uint8Array): string | undefined {
  if (text === '') return 'it is empty';
  if (isUtf16(bytes)) return 'it is in UTF-16; save it as plain text';
  if (/[\r\n]/.test(text)) return 'it has more than one line; a token is a single line';
  return PRINTABLE.test(text) ? undefined : 'it has characters that no token has';
}

/**
 * PEM certificates as they are in a file.
 *
 * @throws `CONFIG_INVALID` that says what is wrong and what to do
 */
export function certificatesIn(source: string, bytes: Uint8Array): string {
  const text = new TextDecoder().decode(bytes);
  if (text.includes(CERTIFICATE)) return text;
  throw new OperationalError('CONFIG_INVALID', `Cannot use ${source}: ${certificateProblem(text, bytes)}`);
}

function certificateProblem(text: string, bytes: Uint8Array): string {
  if (text.trim() === '') return 'it is empty; PEM certificates are expected';
  if (isUtf16(bytes)) return 'it is in UTF-16; save it as plain text';
  if (text.includes('PRIVATE KEY')) return 'it is a private key; PEM certificates are expected';
  // ASN.1: a sequence that says its own length in two bytes.
  if (bytes[0] === 0x30 && bytes[1] === 0x82) {
    return 'it is in DER; PEM is expected: openssl x509 -inform DER -in FILE -out FILE.pem';
  }
  return 'it has no PEM certificate ("-----BEGIN CERTIFICATE-----")';
}

function isUtf16([first, second]: Uint8Array): boolean {
  return (first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff) || second === 0;
}
