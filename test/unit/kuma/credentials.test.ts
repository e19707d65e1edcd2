import { describe, expect, it } from 'vitest';

import { certificatesIn, tokenIn } from '../../../kuma/credentials.ts';

const PEM = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';

describe('tokenIn()', () => {
  it('takes a single line, with blanks around it', () => {
    expect(tokenIn('token', Buffer.from('\n  eyJhbGciOi.x.sig\r\n'))).toBe('eyJhbGciOi.x.sig');
  });

  it.each([
    ['nothing', '', 'empty'],
    ['blanks', ' \n', 'empty'],
    ['two lines', 'eyJhbGciOi.x.sig\n# rotated\n', 'more than one line'],
    ['an old Mac’s two lines', 'a\rb', 'more than one line'],
    ['a word and another', 'a b', 'characters'],
    ['a letter of another alphabet', 'tokén', 'characters'],
  ])('refuses %s, and names the file but not the token', (_what, text, says) => {
    expect(() => tokenIn('user token file "/t"', Buffer.from(text))).toThrow(
      expect.objectContaining({ message: expect.stringContaining(says) as unknown }),
    );
    expect(() => tokenIn('user token file "/t"', Buffer.from(text))).toThrow(
      'Cannot use user token file "/t": it',
    );
  });

  it.each(['utf16le', 'big-endian'] as const)('says that a file is in UTF-16: %s', (order) => {
    const bytes = Buffer.from('\ufefftoken\r\n', 'utf16le');
    expect(() => tokenIn('t', order === 'utf16le' ? bytes : bytes.swap16())).toThrow('UTF-16');
  });
});

describe('certificatesIn()', () => {
  it('takes PEM, with other text around it', () => {
    expect(certificatesIn('CA', Buffer.from(`# the mesh\n${PEM}`))).toContain(PEM);
  });

  it.each([
    ['an empty file', Buffer.from(''), 'empty'],
    ['a key', Buffer.from('-----BEGIN RSA PRIVATE KEY-----\n'), 'private key'],
    ['DER', Buffer.from([0x30, 0x82, 0x03, 0x01]), 'openssl x509 -inform DER'],
    ['UTF-16', Buffer.from(`\ufeff${PEM}`, 'utf16le'), 'UTF-16'],
    ['something else', Buffer.from('hello'), 'BEGIN CERTIFICATE'],
  ])('says what is wrong with %s', (_what, bytes, says) => {
    expect(() => certificatesIn('CA file "/c"', bytes)).toThrow(says);
    expect(() => certificatesIn('CA file "/c"', bytes)).toThrow('CA file "/c"');
  });
});
