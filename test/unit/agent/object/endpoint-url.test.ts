import { describe, expect, test } from 'vitest';

import { isCompanion, orderEndpoints, readEndpointUrl } from '../../../../agent/object/endpoint-url.pure.ts';
import { kumaRestEndpoint } from '../../../../agent/object/kuma-rest-endpoint.io.ts';
import { endpointName } from '../../../../kernel/endpoint-name.ts';

describe('readEndpointUrl()', () => {
  test.for([
    'https://cp.example:5682',
    'http://cp.example:5681',
    'grpcs://companion.example:5690',
    'grpcs://companion.example:443/',
    'grpcs://10.0.0.7:5690',
    'grpc://localhost:5690',
    'grpc://127.0.0.1:5690',
    'grpc://127.8.8.8:5690',
    'grpc://[::1]:5690',
  ])('takes %s', (text) => {
    expect(readEndpointUrl(text)).toEqual({ value: new URL(text) });
  });

  test.for<readonly [text: string, problem: RegExp]>([
    ['cp.example:5682', /expected a URL|expected http/],
    ['grpcs:///', /expected a URL/],
    ['ftp://cp.example', /expected http:\/\/, https:\/\/, grpc:\/\/ or grpcs:\/\//],
    ['grpcs://user:secret@companion.example:5690', /no credentials in the URL/],
    ['grpcs://companion.example', /name its port/],
    ['grpcs://companion.example:5690/path', /no path/],
    ['grpcs://companion.example:5690?x=1', /no query/],
    ['https://cp.example:5682?mesh=a', /no query/],
    ['https://cp.example/kuma/?', /no query/],
    ['https://cp.example:5682/kuma#top', /no fragment/],
    ['grpc://companion.example:5690', /token in clear/],
    ['grpc://10.0.0.7:5690', /token in clear/],
    ['grpc://127.0.0.1.example:5690', /token in clear/],
    ['grpc://localhost.example:5690', /token in clear/],
    ['grpc://[::2]:5690', /token in clear/],
  ])('refuses %s', ([text, problem]) => {
    expect(readEndpointUrl(text)).toEqual({ problem: expect.stringMatching(problem) as string });
  });
});

test.for([
  ['grpcs://companion.example:5690', true, 'grpcs://companion.example:5690'],
  ['grpc://[::1]:5690/', true, 'grpc://[::1]:5690'],
  ['https://cp.example:5682/', false, 'https://cp.example:5682'],
  ['https://gateway.example/cp-1', false, 'https://gateway.example/cp-1'],
  ['https://gateway.example/cp-1//', false, 'https://gateway.example/cp-1'],
  ['https://gateway.example/a/b%2Fc/', false, 'https://gateway.example/a/b%2Fc'],
] as const)('%s: a companion or not, and by which name', ([text, companion, name]) => {
  expect([isCompanion(new URL(text)), endpointName(new URL(text))]).toEqual([companion, name]);
});

function nameAt(path: string): string {
  const endpoint = kumaRestEndpoint({
    url: new URL(path, 'http://127.0.0.1:1'),
    tls: { ca: undefined, clientCertificate: undefined, clientKey: undefined, skipVerify: false },
    userToken: { current: undefined } as never,
    userAgent: 'test',
  });
  endpoint.close();
  return endpoint.url;
}

test('two endpoints behind one origin have two names, wherever they are named', () => {
  expect(['/cp-1', '/cp-2/', '/', '/CP-1'].map(nameAt)).toEqual([
    'http://127.0.0.1:1/cp-1',
    'http://127.0.0.1:1/cp-2',
    'http://127.0.0.1:1',
    'http://127.0.0.1:1/CP-1',
  ]);
});

test.for([
  ['GRPCS://Companion.Example:5690', 'grpcs://companion.example:5690'],
  ['grpc://LOCALHOST:5690/', 'grpc://localhost:5690'],
  ['grpcs://[FD00:0:0::1]:5690', 'grpcs://[fd00::1]:5690'],
  ['HTTPS://CP.Example:443/Cp-1', 'https://cp.example/Cp-1'],
  ['http://cp:80', 'http://cp'],
  ['https://cp/a/../b/./c/', 'https://cp/b/c'],
] as const)('%s is %s: one endpoint has one name, however its host is written', ([text, name]) => {
  const read = readEndpointUrl(text);
  expect('value' in read ? endpointName(read.value) : read.problem).toBe(name);
});

describe('orderEndpoints()', () => {
  const [rest, other, first, second] = [
    new URL('https://cp:5682'),
    new URL('https://other:5682'),
    new URL('grpcs://a:1'),
    new URL('grpcs://b:1'),
  ];
  const fallback = new URL('https://beside:5682');

  test.for([
    { given: [], urls: [fallback] },
    { given: [rest, other], urls: [rest, other] },
    { given: [rest, first, other, second], urls: [first, second, rest, other] },
    // One endpoint that is named twice is one.
    { given: [rest, new URL('https://cp:5682/'), first, first], urls: [first, new URL('https://cp:5682/')] },
    // A host with companions alone may have no reach to the REST port.
    { given: [first], urls: [first] },
  ])('puts companions first: $given', ({ given, urls }) => {
    expect(orderEndpoints(given, { proxyType: 'dataplane', fallback })).toEqual({ urls, bypassed: false });
  });

  test.for([
    { given: [first, rest], urls: [rest], bypassed: true },
    { given: [first], urls: [fallback], bypassed: true },
    { given: [rest], urls: [rest], bypassed: false },
  ])('a zone proxy goes without companions: $given', ({ given, urls, bypassed }) => {
    expect(orderEndpoints(given, { proxyType: 'ingress', fallback })).toEqual({ urls, bypassed });
  });

  test('has no endpoint where nothing is given and nothing can be derived', () => {
    expect(orderEndpoints([], { proxyType: 'dataplane', fallback: undefined }).urls).toEqual([]);
  });
});
