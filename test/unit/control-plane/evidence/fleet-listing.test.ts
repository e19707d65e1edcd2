import { beforeEach, describe, expect, test } from 'vitest';

import { FleetListing } from '../../../../control-plane/evidence/fleet-listing.ts';
import { restMs } from '../../../../control-plane/evidence/listing-pace.pure.ts';
import { OperationalError } from '../../../../kernel/errors.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

const UNREACHABLE = new OperationalError('ENDPOINT_UNREACHABLE', 'Cannot list the dataplanes');

describe('the list of all dataplanes', () => {
  let clock: FakeClock;
  let lists: number;
  let workMs: number;
  let answer: () => Promise<void>;
  let listing: FleetListing;
  let heard: number[];

  beforeEach(() => {
    clock = new FakeClock();
    lists = 0;
    workMs = 0;
    heard = [];
    answer = () => Promise.resolve();
    listing = new FleetListing({
      clock,
      controlPlanes: {
        overviews: async () => {
          lists += 1;
          await answer();
          return { overviews: [], clockMs: undefined, workMs };
        },
      },
      onListed: ({ atMs }) => void heard.push(atMs),
    });
  });

  /** How many lists are read in ten minutes by something that asks every second. */
  const listsIn10Minutes = async (ask: () => Promise<unknown>): Promise<number> => {
    for (let second = 0; second < 600; second += 1) {
      await ask();
      clock.advance(1_000);
    }
    return lists;
  };

  test.for([
    { name: 'ten', work: 3, most: 600 },
    { name: 'a thousand', work: 100, most: 120 },
    { name: 'ten thousand', work: 1_000, most: 12 },
    { name: 'a hundred thousand', work: 15_000, most: 10 },
  ])('of $name, each of which costs $work ms, is read for 2 % of a core', async ({ work, most }) => {
    workMs = work;
    expect(await listsIn10Minutes(() => listing.paced(900))).toBeLessThanOrEqual(most);
  });

  test('is read as often as is asked for where it costs nothing', async () => {
    expect(await listsIn10Minutes(() => listing.paced(900))).toBe(600);
  });

  test('is fresh for a decision that needs it, whatever it costs', async () => {
    workMs = 1_000;
    await listing.paced(0);
    clock.advance(5_001);
    const { atMs } = await listing.fresh(5_000);
    expect(atMs).toBe(clock.monotonicMs());
    expect(heard).toEqual([atMs - 5_001, atMs]);
  });

  test('is shared by everything that asks while it is under way, however long that takes', async () => {
    const slow = Promise.withResolvers<void>();
    answer = () => slow.promise;
    const first = listing.paced(0);
    clock.advance(10_000);
    const others = [listing.paced(0), listing.fresh(0)];
    slow.resolve();
    const pages = await Promise.all([first, ...others]);
    expect(new Set(pages.map(({ atMs }) => atMs)).size).toBe(1);
    expect({ lists, heard: heard.length }).toEqual({ lists: 1, heard: 1 });
  });

  test('that could not be read is read again by the next one that asks', async () => {
    answer = () => Promise.reject(UNREACHABLE);
    await expect(listing.paced(60_000)).rejects.toBe(UNREACHABLE);
    answer = () => Promise.resolve();
    await listing.paced(60_000);
    expect(lists).toBe(2);
  });
});

test('the longest rest is shorter than what the look log remembers', () => {
  expect(restMs(Number.POSITIVE_INFINITY)).toBeLessThan(120_000);
});
