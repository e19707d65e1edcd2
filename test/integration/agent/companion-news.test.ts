import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { AttachStream, Companion, Hello } from '../../../agent/ports.ts';
import { systemClock } from '../../../kernel/clock.ts';
import { withDeadline } from '../../../kernel/deadline.ts';
import type { ControlPlaneFacts } from '../../../kuma/control-plane.ts';
import { Owner } from '../../../proto/gen/deregistrar/v1/deregistrar.ts';
import { attachTo, HELLO, plainEndpoint } from '../../support/companion-endpoint.ts';
import { DEAF } from '../../support/deaf-listener.ts';
import {
  attachedAs,
  CONTROL_PLANE,
  FakeCompanion,
  type FakeCompanionOptions,
} from '../../support/fake-companion.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

const KEY = { proxyType: 'dataplane', mesh: 'default', name: 'web-1' } as const;
const STARTING: Hello = { ...HELLO, status: { phase: 'starting', serving: false } };

describe('what agent and companion tell each other on their stream', () => {
  let open: AsyncDisposableStack;
  let fake: FakeCompanion;
  let endpoint: Companion;
  let news: ControlPlaneFacts[];

  beforeEach(() => {
    open = new AsyncDisposableStack();
    news = [];
  });

  afterEach(() => open.disposeAsync());

  const start = async (replies: NonNullable<FakeCompanionOptions['replies']>): Promise<AttachStream> => {
    fake = open.use(await FakeCompanion.start({ replies }));
    endpoint = plainEndpoint(fake.url, open);
    const listener = { ...DEAF, news: (facts: ControlPlaneFacts) => void news.push(facts) };
    return attachTo(endpoint, { hello: STARTING, listener });
  };
  const check = (): Promise<ControlPlaneFacts> =>
    withDeadline({ clock: systemClock, action: 'check', budgetMs: 5_000 }, ({ signal }) =>
      endpoint.check(KEY, signal),
    );

  test('a check asks nothing while the stream brings news, and asks again once the stream has ended', async () => {
    const stream = await start({ attach: () => attachedAs(7, { sendsNews: true }) });
    await check();
    fake.send({ $case: 'news', value: { ...CONTROL_PLANE, instanceId: 'cp-2' } });
    await waitUntil(() => news.length > 0, { what: 'the news' });
    expect([news[0]?.instanceId, (await check()).instanceId]).toEqual(['cp-2', 'cp-2']);
    expect(fake.seen('getControlPlane')).toHaveLength(1);
    stream.close();
    await stream.ended;
    expect((await check()).instanceId).toBe('cp-1');
    expect(fake.seen('getControlPlane')).toHaveLength(2);
  });

  test('a check asks a companion that sends no news each time', async () => {
    await start({});
    for (let nth = 0; nth < 3; nth += 1) await check();
    expect(fake.seen('getControlPlane')).toHaveLength(3);
  });

  test('the agent names the present owner of the object only if it has changed', async () => {
    const stream = await start({});
    stream.tell({ phase: 'starting', serving: false }, 'cp');
    stream.tell({ phase: 'running', serving: false });
    await waitUntil(() => fake.streams[0]?.phases.length === 2, { what: 'both phases' });
    expect(fake.streams[0]?.phases).toEqual([
      { phase: 'starting', serving: false, owner: Owner.CONTROL_PLANE },
      { phase: 'running', serving: false, owner: Owner.UNSPECIFIED },
    ]);
  });
});
