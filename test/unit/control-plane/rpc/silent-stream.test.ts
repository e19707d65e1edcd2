import { expect, test } from 'vitest';

import { CompanionScene } from '../../../support/fakes/companion-scene.ts';

/** Load balancers that read HTTP/2 end a stream without messages after 60 s. */
const LIMIT_MS = 60_000;
const SLACK_MS = 15_000;

test.for([
  { what: 'an agent that answers', answersAsks: true, asked: true },
  { what: 'an agent that does not know the question', answersAsks: false, asked: false },
])('on a silent stream, $what is asked well within a minute, again and again: $asked', async (given) => {
  await using scene = new CompanionScene('sqlite');
  const stream = await scene.attach(scene.companion(), 'web-1', { answersAsks: given.answersAsks });
  for (let minute = 0; minute < 5; minute += 1) {
    const before = stream.received.length;
    await scene.clock.pass(LIMIT_MS - SLACK_MS);
    const asks = stream.received.slice(before).filter(({ $case }) => $case === 'ask');
    expect(asks.length > 0).toBe(given.asked);
  }
});
