import { describe, expect, test } from 'vitest';

import type { Activity } from '../../../../agent/envoy/envoy-activity.pure.ts';
import { followUse, type EnvoyUse, type EnvoyLook } from '../../../../agent/envoy/envoy-use.pure.ts';

const NEVER = Number.NEGATIVE_INFINITY;
const NONE = { open: 0, begun: 0 };

function activity(
  inbound: Partial<Activity['inbound']> = {},
  outbound: Partial<Activity['outbound']> = {},
): Activity {
  const nothing = { requests: 0, connections: 0, begun: 0 };
  return {
    inbound: { ...nothing, ...inbound },
    outbound: { ...nothing, open: [], receivedBytes: 0, ...outbound },
  };
}

/** Looks at 0, 100, 200 … ms. */
function follow(...looks: readonly (Partial<EnvoyLook> & { readonly activity: Activity })[]): EnvoyUse {
  let use: EnvoyUse | undefined;
  looks.forEach((look, at) => {
    use = followUse(use, { atMs: at * 100, own: NONE, movedBefore: false, ...look });
  });
  if (use === undefined) throw new TypeError('no look');
  return use;
}

describe('followUse()', () => {
  test('is quiet since the first look that found nothing', () => {
    expect(follow({ activity: activity() }, { activity: activity() }).quietSinceMs).toBe(0);
    const busy = { activity: activity({ requests: 1, begun: 1 }) };
    const done = { activity: activity({ begun: 1 }) };
    expect(follow(busy).quietSinceMs).toBeUndefined();
    expect(follow(busy, done).quietSinceMs).toBe(100);
    expect(follow(busy, done, done).quietSinceMs).toBe(100);
  });

  test('a request too short to be seen in progress begins the quiet anew', () => {
    expect(follow({ activity: activity() }, { activity: activity({ begun: 1 }) }).quietSinceMs).toBe(100);
  });

  test('work of the application is no work of peers', () => {
    const calls = { activity: activity({}, { requests: 2, begun: 2 }) };
    expect(follow({ activity: activity() }, calls)).toMatchObject({ quietSinceMs: 0, lastCallMs: 100 });
  });

  test('what began before the first look is no call since', () => {
    expect(follow({ activity: activity({}, { begun: 70 }) }).lastCallMs).toBe(NEVER);
  });

  test('bytes that move on a connection that is not HTTP are seen, those before the stop are told', () => {
    const still = { activity: activity({}, { connections: 1, receivedBytes: 5 }) };
    const more = { activity: activity({}, { connections: 1, receivedBytes: 6 }) };
    expect(follow(still, still).movedAtMs).toBe(NEVER);
    expect(follow(still, more, more).movedAtMs).toBe(100);
    expect(follow({ ...still, movedBefore: true }, still).movedAtMs).toBe(0);
  });

  test("the agent's own connections are no work, no call, and hold nothing", () => {
    const open = [
      { listener: 'a', connections: 1 },
      { listener: 'b', connections: 3 },
    ];
    const before = { activity: activity() };
    const own = { activity: activity({}, { connections: 4, begun: 4, open }), own: { open: 4, begun: 4 } };
    expect(follow(before, own)).toMatchObject({ outbound: { connections: 0, open: [] }, lastCallMs: NEVER });
    const one = { ...own, own: { open: 3, begun: 3 } };
    expect(follow(before, one)).toMatchObject({
      outbound: { connections: 1, open: [{ listener: 'a', connections: 1 }] },
      lastCallMs: 100,
    });
  });
});
