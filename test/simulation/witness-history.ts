import { seededRandom } from '../support/replicas/random.ts';
import { Draw } from './draw.ts';
import { drawFault, replicasOf, type Fault, type History } from './history.ts';
import type { Flaw } from './sim-witness.ts';

/** What happens between dataplanes, their peers and those that look. */
export type WitnessFault =
  | {
      readonly kind:
        | 'host goes dark'
        | 'host freezes'
        | 'agent freezes'
        | 'firewall fails over'
        | 'firewall cuts all'
        | 'new connects are dropped'
        | 'only clients are let in'
        | 'connects are redirected'
        | 'companion cannot look'
        | 'host cannot connect'
        | 'health check fails';
      readonly host: number;
      readonly forMs: number;
    }
  | {
      readonly kind: 'peer cannot connect';
      readonly host: number;
      readonly from: number;
      readonly forMs: number;
    }
  | { readonly kind: 'witness stalls'; readonly host: number; readonly forMs: number }
  | { readonly kind: 'witness is flawed'; readonly host: number; readonly flaw: Flaw }
  | { readonly kind: 'address is taken' | 'operator edits'; readonly host: number }
  | {
      readonly kind: 'rack goes dark' | 'rack loses the companion';
      readonly hosts: number;
      readonly forMs: number;
    }
  | { readonly kind: 'store is lost' };

export const WITNESS_HOSTS = 6;
/** The first four are `web`, the others `api`; each calls the other. */
export const WEB_HOSTS = 4;

export const WITNESS_FAULTS: Readonly<Record<WitnessFault['kind'], (draw: Draw) => WitnessFault>> = {
  'host goes dark': (draw) => ({ kind: 'host goes dark', host: anyHost(draw), forMs: longOrShort(draw) }),
  'host freezes': (draw) => ({ kind: 'host freezes', host: anyHost(draw), forMs: draw.of([4_000, 20_000]) }),
  'agent freezes': (draw) => ({
    kind: 'agent freezes',
    host: anyHost(draw),
    forMs: draw.of([20_000, 100_000]),
  }),
  'firewall fails over': (draw) => ({
    kind: 'firewall fails over',
    host: anyHost(draw),
    forMs: draw.of([1_000, 15_000]),
  }),
  'firewall cuts all': (draw) => ({
    kind: 'firewall cuts all',
    host: anyHost(draw),
    forMs: longOrShort(draw),
  }),
  'new connects are dropped': (draw) => ({
    kind: 'new connects are dropped',
    host: anyHost(draw),
    forMs: longOrShort(draw),
  }),
  'only clients are let in': (draw) => ({
    kind: 'only clients are let in',
    host: anyHost(draw),
    forMs: longOrShort(draw),
  }),
  'connects are redirected': (draw) => ({
    kind: 'connects are redirected',
    host: anyHost(draw),
    forMs: longOrShort(draw),
  }),
  'companion cannot look': (draw) => ({
    kind: 'companion cannot look',
    host: anyHost(draw),
    forMs: longOrShort(draw),
  }),
  'host cannot connect': (draw) => ({
    kind: 'host cannot connect',
    host: anyHost(draw),
    forMs: longOrShort(draw),
  }),
  'health check fails': (draw) => ({
    kind: 'health check fails',
    host: anyHost(draw),
    forMs: draw.of([3_000, 20_000]),
  }),
  'peer cannot connect': (draw) => ({
    kind: 'peer cannot connect',
    host: anyHost(draw),
    from: anyHost(draw),
    forMs: longOrShort(draw),
  }),
  'witness stalls': (draw) => ({
    kind: 'witness stalls',
    host: anyHost(draw),
    forMs: draw.of([200, 800, 3_000]),
  }),
  'witness is flawed': (draw) => ({
    kind: 'witness is flawed',
    host: anyHost(draw),
    flaw: draw.of<Flaw>(['says refused', 'says silent', 'says reached', 'answers late']),
  }),
  'address is taken': (draw) => ({ kind: 'address is taken', host: anyHost(draw) }),
  'operator edits': (draw) => ({ kind: 'operator edits', host: anyHost(draw) }),
  'rack goes dark': (draw) => ({
    kind: 'rack goes dark',
    hosts: 2 + draw.below(3),
    forMs: longOrShort(draw),
  }),
  'rack loses the companion': (draw) => ({
    kind: 'rack loses the companion',
    hosts: draw.of([3, WITNESS_HOSTS]),
    forMs: longOrShort(draw),
  }),
  'store is lost': () => ({ kind: 'store is lost' }),
};

/** A zone whose dataplanes are each other's witnesses. */
export function witnessHistoryOf(seed: number): History {
  const draw = new Draw(seededRandom(seed ^ 0x3c_6e_f3_72));
  const database = draw.of(['sqlite', 'postgres'] as const);
  const shape = { planes: draw.of([1, 1, 2]), replicas: replicasOf(database), hosts: WITNESS_HOSTS };
  const steps = Array.from({ length: 1 + draw.below(6) }, () => ({
    afterMs: draw.of([draw.below(1_000), draw.below(12_000), draw.below(40_000)]),
    fault: draw.chance(0.7) ? drawWitnessFault(draw) : drawFault(draw, shape),
  }));
  const closed = draw.chance(0.2) ? { closed: anyHost(draw) } : {};
  return { seed, database, planes: shape.planes, steps, witnesses: true, ...closed };
}

function drawWitnessFault(draw: Draw): Fault {
  if (draw.chance(0.25)) return { kind: 'host crashes', host: anyHost(draw) };
  return draw.of(Object.values(WITNESS_FAULTS))(draw);
}

function anyHost(draw: Draw): number {
  return draw.below(WITNESS_HOSTS);
}

function longOrShort(draw: Draw): number {
  return draw.of([5_000, 30_000, 200_000]);
}
