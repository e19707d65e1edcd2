import { setTimeout as delay } from 'node:timers/promises';

import { type KumaWorld } from '../kuma-worlds/kuma-world.ts';
import { BUSY, IN_FLIGHT, SPARSE, type StopScenario, THREE_A_SECOND } from './scenario.ts';

/** A stop whose Envoy nobody needs for longer than peers need to be told. */
const QUICK_MS = 5_000;
const PROTOCOLS = ['http', 'http2', 'grpc', 'tcp'] as const;
const HTTP_PROTOCOLS = ['http', 'http2', 'grpc'] as const;

/** Peers call it. */
export const INBOUND: readonly StopScenario[] = [
  ...PROTOCOLS.map((protocol): StopScenario => {
    return {
      title: `service, ${protocol}, busy`,
      subject: 'service',
      protocol,
      use: BUSY,
      withinMs: QUICK_MS,
    };
  }),
  ...HTTP_PROTOCOLS.map((protocol): StopScenario => {
    return {
      title: `service, ${protocol}, requests in flight`,
      subject: 'service',
      protocol,
      use: IN_FLIGHT,
    };
  }),
  {
    title: 'service, http, a new connection every 2 s',
    subject: 'service',
    protocol: 'http',
    use: SPARSE,
    withinMs: QUICK_MS,
  },
];

/** Its application calls others. */
export const OUTBOUND: readonly StopScenario[] = [
  {
    title: 'worker, http, busy, its application ends with it',
    subject: 'worker',
    protocol: 'http',
    use: BUSY,
    applicationEnds: 'with',
  },
  {
    title: 'worker, http, busy, its application ended before',
    subject: 'worker',
    protocol: 'http',
    use: BUSY,
    applicationEnds: 'before',
  },
];

export const GATEWAYS: readonly StopScenario[] = [
  {
    title: 'delegated gateway, http, busy, its application ended before',
    subject: 'delegated gateway',
    protocol: 'http',
    use: BUSY,
    applicationEnds: 'before',
  },
  {
    title: 'builtin gateway, http, requests in flight',
    subject: 'builtin gateway',
    protocol: 'http',
    use: IN_FLIGHT,
  },
];

/** Something else goes wrong at the same moment. */
export const WEATHER: readonly StopScenario[] = [
  {
    title: 'service, http, its own control plane hangs for a while, another one lives',
    subject: 'service',
    protocol: 'http',
    use: THREE_A_SECOND,
    controlPlanes: 2,
    weather: { atStop: (world, { drainMs }) => hang(world, 0, (drainMs * 2) / 3) },
  },
  {
    title: 'service, http, the only control plane dies with the stop and comes back during it',
    subject: 'service',
    protocol: 'http',
    use: THREE_A_SECOND,
    options: ['--lifecycle', 'cp'],
    weather: {
      atStop: async (world, { drainMs }) => {
        await world.kill();
        await delay(drainMs / 3);
        await world.start();
      },
    },
  },
  {
    title: 'service, http, a request in flight for longer than the supervisor waits',
    subject: 'service',
    protocol: 'http',
    use: { kind: 'in flight', takesMs: 8_000 },
    options: ['--stop-budget', '4s'],
    killedAfterMs: 5_000,
  },
];

function hang(world: KumaWorld, controlPlane: number, forMs: number): void {
  world.freeze(controlPlane);
  setTimeout(() => {
    world.thaw(controlPlane);
  }, forMs);
}
