import { expect, test } from 'vitest';

import { describeZone, joined, mayBeSameZone } from '../../../../control-plane/evidence/zone-binding.pure.ts';

const zone = (name?: string, clusterId?: string) => ({ name, clusterId });

test.for([
  { name: 'the same', a: zone('east', 'c1'), b: zone('east', 'c1'), same: true },
  { name: 'two names', a: zone('east', 'c1'), b: zone('west', 'c1'), same: false },
  {
    name: 'one name: the zone has joined a global control plane',
    a: zone('east', 'c1'),
    b: zone('east', 'g'),
    same: true,
  },
  { name: 'not named', a: zone('default', 'c1'), b: zone('default', 'c2'), same: false },
  {
    name: 'not named, and one id is not known',
    a: zone('default', 'c1'),
    b: zone('default'),
    same: true,
  },
  { name: 'one name is not known, two ids', a: zone('east', 'c1'), b: zone(undefined, 'c2'), same: false },
  { name: 'one name is not known, one id', a: zone('east', 'c1'), b: zone(undefined, 'c1'), same: true },
  { name: 'nothing is known of one', a: zone('east', 'c1'), b: zone(), same: true },
])('mayBeSameZone(): $name: $same', ({ a, b, same }) => {
  expect([mayBeSameZone(a, b), mayBeSameZone(b, a)]).toEqual([same, same]);
});

test('joined() keeps what was known', () => {
  expect(joined(zone('east'), zone('west', 'c1'))).toEqual(zone('east', 'c1'));
});

test.for([
  { given: zone('east', 'c1'), text: 'zone east (cluster c1)' },
  { given: zone('east'), text: 'zone east' },
  { given: zone(undefined, 'c1'), text: 'cluster c1' },
  { given: zone(), text: 'an unknown zone' },
])('describeZone(): $text', ({ given, text }) => {
  expect(describeZone(given)).toBe(text);
});
