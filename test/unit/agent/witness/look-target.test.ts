import { describe, expect, test } from 'vitest';

import { canonicalAddress, refusalOf } from '../../../../agent/witness/look-target.pure.ts';

const OWN: ReadonlySet<string> = new Set(['10.0.0.1', 'fd00::1']);

describe('an agent looks at', () => {
  test.for(['10.0.0.7', '192.168.3.4', '8.8.8.8', 'fd00::7', '2001:db8::7', '::ffff:10.0.0.7'])(
    '%s',
    (address) => {
      expect(refusalOf({ address, port: 8_080 }, OWN)).toBeUndefined();
    },
  );
});

describe('an agent refuses to look at', () => {
  test.for([
    ['127.0.0.1', 'loopback'],
    ['127.9.9.9', 'loopback'],
    ['::1', 'loopback'],
    ['0:0:0:0:0:0:0:1', 'loopback'],
    ['::ffff:127.0.0.1', 'loopback'],
    ['::FFFF:7f00:1', 'loopback'],
    ['::127.0.0.1', 'translated'],
    ['64:ff9b::127.0.0.1', 'translated'],
    ['0.0.0.0', 'unspecified'],
    ['0.1.2.3', 'unspecified'],
    ['::', 'unspecified'],
    ['169.254.169.254', 'link-local'],
    ['::ffff:169.254.169.254', 'link-local'],
    ['fe80::1', 'link-local'],
    ['febf::1', 'link-local'],
    ['224.0.0.1', 'multicast'],
    ['239.255.255.255', 'multicast'],
    ['ff02::1', 'multicast'],
    ['255.255.255.255', 'reserved'],
    ['240.0.0.1', 'reserved'],
    ['10.0.0.1', 'of this host'],
    ['::ffff:10.0.0.1', 'of this host'],
    ['FD00:0::1', 'of this host'],
    ['web.example', 'not an IP address'],
    ['localhost', 'not an IP address'],
    ['', 'not an IP address'],
    ['010.0.0.7', 'not an IP address'],
    ['10.7', 'not an IP address'],
    ['167772167', 'not an IP address'],
    ['0x0a.0.0.7', 'not an IP address'],
    ['10.0.0.256', 'not an IP address'],
    ['10.0.0.7 ', 'not an IP address'],
    ['fe80::1%eth0', 'not an IP address'],
    ['[fd00::7]', 'not an IP address'],
    ['10.0.0.7:80', 'not an IP address'],
    ['fd00::7/64', 'not an IP address'],
    ['fd00:::7', 'not an IP address'],
  ] as const)('%s: %s', ([address, why]) => {
    expect(refusalOf({ address, port: 8_080 }, OWN)).toContain(why);
  });

  test.for([0, -1, 65_536, 80.5, Number.NaN])('port %d', (port) => {
    expect(refusalOf({ address: '10.0.0.7', port }, OWN)).toContain('is not a port');
  });
});

test('every way to write an address has one canonical form', () => {
  for (const text of ['2001:DB8:0:0::7', '2001:db8::0:7', '2001:db8:0:0:0:0:0:7'])
    expect(canonicalAddress(text)).toBe('2001:db8::7');
});
