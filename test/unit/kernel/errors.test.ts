import { describe, expect, test } from 'vitest';

import {
  describeError,
  ERROR_CODES,
  nameTlsFault,
  OperationalError,
  type ErrorCode,
} from '../../../kernel/errors.ts';

describe('OperationalError', () => {
  test.for(Object.entries(ERROR_CODES))('%s is as retryable as its table says', ([code, { retryable }]) => {
    expect(new OperationalError(code as ErrorCode, 'Cannot').retryable).toBe(retryable);
  });

  test('carries its cause and its details', () => {
    const cause = new Error('no route to host');
    const error = new OperationalError('ENDPOINT_UNREACHABLE', 'Cannot GET', {
      cause,
      details: { attempts: 3 },
    });
    expect(error).toMatchObject({ name: 'OperationalError', cause, details: { attempts: 3 } });
    expect(error).toBeInstanceOf(Error);
  });

  test('has no cause where none was given, and empty details', () => {
    const error = new OperationalError('CANCELLED', 'Gave up');
    expect('cause' in error).toBe(false);
    expect(error.details).toEqual({});
  });
});

describe('describeError()', () => {
  const refused = Object.assign(new Error(''), { code: 'ECONNREFUSED' });

  test.for<{ readonly name: string; readonly error: unknown; readonly text: string }>([
    { name: 'an error', error: new Error('no route'), text: 'no route' },
    {
      name: 'a cause below it',
      error: new Error('Cannot GET', { cause: new Error('no route') }),
      text: 'Cannot GET: no route',
    },
    {
      name: 'a chain of causes',
      error: new Error('Cannot deregister', {
        cause: new Error('Cannot GET', { cause: new Error('no route') }),
      }),
      text: 'Cannot deregister: Cannot GET: no route',
    },
    {
      name: 'a cause that is said already',
      error: new Error('Cannot GET: no route', { cause: new Error('no route') }),
      text: 'Cannot GET: no route',
    },
    { name: 'an error without words, by its code', error: refused, text: 'ECONNREFUSED' },
    { name: 'an error without words or code, by its name', error: new TypeError(''), text: 'TypeError' },
    {
      name: 'a cause without words',
      error: new Error('Cannot GET', { cause: refused }),
      text: 'Cannot GET: ECONNREFUSED',
    },
    {
      name: "an error with Node's advice to start it otherwise, without the advice",
      error: new Error(
        'unable to verify the first certificate; if the root CA is installed locally, try running Node.js with --use-system-ca',
      ),
      text: 'unable to verify the first certificate',
    },
    { name: 'a text that was thrown', error: 'boom', text: 'boom' },
    { name: 'nothing that was thrown', error: undefined, text: 'undefined' },
    {
      name: 'a cause that is a text',
      error: new Error('Cannot GET', { cause: 'boom' }),
      text: 'Cannot GET: boom',
    },
  ])('$name: "$text"', ({ error, text }) => {
    expect(describeError(error)).toBe(text);
  });
});

test.for([
  [
    'tls_validate_record_header:wrong version number',
    'the other side does not speak TLS: the scheme or the port of the URL is wrong',
  ],
  [
    'ssl3_read_bytes:tlsv13 alert certificate required',
    'the server requires a client certificate that it trusts',
  ],
  ['ssl3_read_bytes:tlsv1 alert unknown ca', 'the server does not trust the CA of the client certificate'],
  [
    'ssl3_read_bytes:tlsv1 alert protocol version',
    'the server and this program have no TLS version in common',
  ],
  ['ssl3_read_bytes:ssl/tls alert handshake failure', 'the server refuses the TLS handshake'],
  ['ssl3_read_bytes:sslv3 alert bad record mac', 'TLS: sslv3 alert bad record mac'],
] as const)('OpenSSL’s %s is named', ([reason, fault]) => {
  const line = `write EPROTO 40FD03F8A47F0000:error:0A00010B:SSL routines:${reason}:../deps/openssl/openssl/ssl/x.c:77:SSL alert number 40\n`;
  const error = new Error('Cannot GET /', { cause: new Error(line) });
  expect(describeError(error)).toBe(`Cannot GET /: ${fault}`);
  expect(nameTlsFault(`No connection established. Last error: ${line}. Resolution note: x`)).toBe(
    `No connection established. Last error: ${fault}. Resolution note: x`,
  );
});
