import { type KumaWorld } from '../kuma-worlds/kuma-world.ts';
import { BUSY, IN_FLIGHT, SPARSE, type StopScenario, type Use, THREE_A_SECOND } from './scenario.ts';

const EVERY_FOUR_SECONDS: Use = { kind: 'requests', everyMs: 4_000, fresh: true };
const SESSION: Use = { kind: 'session' };

/** A stop whose Envoy is not used for longer than peers need to be told. */
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
  ...PROTOCOLS.map((protocol): StopScenario => {
    const title = `service, ${protocol}, a stream or connection that never ends`;
    return { title, subject: 'service', protocol, use: SESSION };
  }),
];

/** Its application calls others. */
export const OUTBOUND: readonly StopScenario[] = [
  ...PROTOCOLS.map((protocol): StopScenario => {
    const title = `worker, ${protocol}, busy, its application goes on`;
    return { title, subject: 'worker', protocol, use: BUSY, applicationEnds: 'after' };
  }),
  ...HTTP_PROTOCOLS.map((protocol): StopScenario => {
    return { title: `worker, ${protocol}, requests in flight`, subject: 'worker', protocol, use: IN_FLIGHT };
  }),
  ...PROTOCOLS.map((protocol): StopScenario => {
    const title = `worker, ${protocol}, a stream or connection, its application goes on`;
    return { title, subject: 'worker', protocol, use: SESSION, applicationEnds: 'after' };
  }),
  {
    title: 'worker, http, a new connection every 2 s, its application goes on',
    subject: 'worker',
    protocol: 'http',
    use: SPARSE,
    applicationEnds: 'after',
  },
  {
    title: 'worker, http, a new connection every 4 s, its application goes on',
    subject: 'worker',
    protocol: 'http',
    use: EVERY_FOUR_SECONDS,
    applicationEnds: 'after',
  },
  {
    title: 'worker, http, busy, its application ends with it',
    subject: 'worker',
    protocol: 'http',
    use: BUSY,
    applicationEnds: 'with',
  },
  {
    title: 'worker, http, busy; its application ended before',
    subject: 'worker',
    protocol: 'http',
    use: BUSY,
    applicationEnds: 'before',
  },
];

/** Clients or its own application use it. */
export const GATEWAYS: readonly StopScenario[] = [
  {
    title: 'delegated gateway, http, busy, its application goes on',
    subject: 'delegated gateway',
    protocol: 'http',
    use: BUSY,
    applicationEnds: 'after',
  },
  {
    title: 'delegated gateway, http, a new connection every 2 s, its application goes on',
    subject: 'delegated gateway',
    protocol: 'http',
    use: SPARSE,
    applicationEnds: 'after',
  },
  {
    title: 'delegated gateway, http, requests in flight',
    subject: 'delegated gateway',
    protocol: 'http',
    use: IN_FLIGHT,
  },
  {
    title: 'delegated gateway, http, busy, its application ended before',
    subject: 'delegated gateway',
    protocol: 'http',
    use: BUSY,
    applicationEnds: 'before',
  },
  {
    title: 'builtin gateway, http, behind a load balancer, three new connections a second',
    subject: 'builtin gateway',
    protocol: 'http',
    use: THREE_A_SECOND,
    balanced: true,
  },
  {
    title: 'builtin gateway, http, behind a load balancer, busy',
    subject: 'builtin gateway',
    protocol: 'http',
    use: { ...BUSY, fresh: true },
    balanced: true,
  },
  {
    title: 'builtin gateway, http, requests in flight',
    subject: 'builtin gateway',
    protocol: 'http',
    use: IN_FLIGHT,
  },
  {
    title: 'builtin gateway, http, a download that never ends',
    subject: 'builtin gateway',
    protocol: 'http',
    use: SESSION,
  },
];

/** Something else goes wrong at the same moment. */
export const FAULTS: readonly StopScenario[] = [
  {
    title: 'service, http, its own control plane hangs for a while',
    subject: 'service',
    protocol: 'http',
    use: THREE_A_SECOND,
    controlPlanes: 2,
    fault: { atStop: (world, { drainMs }) => hang(world, 0, (drainMs * 2) / 3) },
  },
  {
    title: 'service, http, the control plane is down until after the stop',
    subject: 'service',
    protocol: 'http',
    use: IN_FLIGHT,
    laterMs: 2_000,
    fault: { atStop: (world) => world.kill(), after: (world) => world.start() },
  },
  {
    title: 'worker, http, busy, the control plane is down until after the stop',
    subject: 'worker',
    protocol: 'http',
    use: BUSY,
    applicationEnds: 'after',
    laterMs: 2_000,
    fault: { atStop: (world) => world.kill(), after: (world) => world.start() },
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
