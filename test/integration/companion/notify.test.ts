import { beforeEach, describe, expect, test } from 'vitest';

import { CompanionWorld } from '../../support/companion-world.ts';
import { need } from '../../support/need.ts';
import { NotifySocket } from '../../support/notify-socket.ts';

describe('systemd', () => {
  beforeEach((context) => {
    need(context, 'systemd-notify');
  });

  test('learns when agents can attach, how many are attached, and that the companion stops', async () => {
    await using socket = await NotifySocket.start();
    await using world = await CompanionWorld.start({ companion: { env: { NOTIFY_SOCKET: socket.path } } });
    const ready = await socket.waitFor('READY=1');
    expect(ready.assignments).toContain('STATUS=serving, 0 agents attached');
    await world.running('told');
    await socket.waitFor('STATUS=serving, 1 agents attached');
    process.kill(world.companion.pid, 'SIGTERM');
    const stopping = await socket.waitFor('STOPPING=1');
    expect(stopping.assignments).toContain('STATUS=stopping: redirecting 1 agents');
    expect(world.companion.seen('notification.lost')).toEqual([]);
  });
});
