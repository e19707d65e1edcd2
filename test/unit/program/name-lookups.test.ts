import type { LookupAddress } from 'node:dns';

import { array, assert, constantFrom, nat, oneof, property } from 'fast-check';
import { expect, test } from 'vitest';

import { boundedLookup } from '../../../program/name-lookups.ts';

type Answer = (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void;

const ADDRESS: LookupAddress[] = [{ address: '192.0.2.1', family: 4 }];

function world(): { lookup: ReturnType<typeof boundedLookup>; open: { name: string; answer: Answer }[] } {
  const open: { name: string; answer: Answer }[] = [];
  const lookup = boundedLookup((name, _options, answer) => {
    open.push({ name, answer });
  }, 3);
  return { lookup, open };
}

test('never more than three names are looked up at once, each once, and every caller gets an answer', () => {
  const steps = array(oneof(constantFrom('a', 'b', 'c', 'd', 'e'), nat(4)), { maxLength: 60 });
  assert(
    property(steps, (asked) => {
      const { lookup, open } = world();
      let answers = 0;
      let questions = 0;
      for (const step of asked) {
        if (typeof step === 'string') {
          questions += 1;
          lookup(`${step}.example`, { all: true }, () => (answers += 1));
        } else open.splice(step, 1)[0]?.answer(null, ADDRESS);
        expect(open.length).toBeLessThanOrEqual(3);
        expect(new Set(open.map(({ name }) => name)).size).toBe(open.length);
      }
      while (open.length > 0) open.shift()?.answer(null, ADDRESS);
      expect(answers).toBe(questions);
    }),
  );
});

test('an address needs no thread, and waits for none', () => {
  const { lookup, open } = world();
  for (const name of ['a', 'b', 'c', 'd']) lookup(`${name}.example`, { all: true }, () => {});
  for (const address of ['127.0.0.1', '::1']) lookup(address, { all: true }, () => {});
  expect(open.map(({ name }) => name)).toEqual(['a.example', 'b.example', 'c.example', '127.0.0.1', '::1']);
});

test('other families of one name are another question; an error is an answer as well', () => {
  const { lookup, open } = world();
  const errors: unknown[] = [];
  lookup('a.example', { all: true, family: 4 }, (error) => errors.push(error));
  lookup('a.example', { all: true, family: 6 }, (error) => errors.push(error));
  expect(open).toHaveLength(2);
  const error = new Error('no such name');
  for (const { answer } of open) answer(error, []);
  expect(errors).toEqual([error, error]);
});
