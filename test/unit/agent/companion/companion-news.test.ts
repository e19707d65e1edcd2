import { beforeEach, describe, expect, test } from 'vitest';

import { CompanionNews } from '../../../../agent/companion/companion-news.ts';
import { DEFAULT_FACTS } from '../../../../kuma/control-plane.ts';
import { DEAF } from '../../../support/deaf-listener.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

const FACTS = { ...DEFAULT_FACTS, version: '2.14.3' };

describe('answers without a question to the companion', () => {
  let clock: FakeClock;
  let news: CompanionNews<string>;
  const ask = { client: 'first', token: 'token' };

  beforeEach(() => {
    clock = new FakeClock();
    news = new CompanionNews(clock);
    news.heardBy(DEAF, 'first').attached({ epoch: 1, facts: FACTS, sendsNews: true });
    news.asked(ask);
  });

  test('what the stream said last', () => {
    expect(news.instead(ask)).toBe(FACTS);
    const later = { ...FACTS, version: '2.15.0' };
    news.heardBy(DEAF, 'first').news(later);
    expect(news.instead(ask)).toBe(later);
  });

  test('nothing for a token that the companion has not accepted, and on another connection', () => {
    expect(news.instead({ ...ask, token: 'other' })).toBeUndefined();
    expect(news.instead({ ...ask, client: 'second' })).toBeUndefined();
  });

  test('nothing before the first question, after 5 min, and after the end of the stream', () => {
    expect(new CompanionNews<string>(clock).instead(ask)).toBeUndefined();
    clock.advance(299_999);
    expect(news.instead(ask)).toBe(FACTS);
    clock.advance(1);
    expect(news.instead(ask)).toBeUndefined();
    news.asked(ask);
    news.end('second');
    expect(news.instead(ask)).toBe(FACTS);
    news.end('first');
    expect(news.instead(ask)).toBeUndefined();
  });

  test('nothing while the companion sends no news', () => {
    news.heardBy(DEAF, 'first').attached({ epoch: 1, facts: FACTS });
    expect(news.instead(ask)).toBeUndefined();
  });
});
