import { seededRandom } from '../support/replicas/random.ts';
import { Draw } from './draw.ts';
import { drawDelay, drawFault, replicasOf, type HistoryFault, type History } from './history.ts';
import { FORBIDDEN } from './sim-reach.ts';
import type { Flaw } from './sim-witness.ts';

/** A fault of one host that lasts for a time. */
interface HostFault {
  readonly kind:
    | 'host goes dark'
    | 'host freezes'
    | 'agent freezes'
    | 'firewall fails over'
    | 'firewall cuts all'
    | 'firewall rejects'
    | 'agent attaches slowly'
    | 'new connects are dropped'
    | 'only clients are let in'
    | 'connects are redirected'
    | 'companion cannot look'
    | 'host cannot connect'
    | 'health check fails'
    | 'witness stalls';
  readonly host: number;
  readonly forMs: number;
}

/** What happens between dataplanes, their peers and the witnesses. */
export type WitnessFault =
  | HostFault
  | {
      readonly kind: 'peer cannot connect';
      readonly host: number;
      readonly from: number;
      readonly forMs: number;
    }
  | { readonly kind: 'witness is flawed'; readonly host: number; readonly flaw: Flaw }
  | { readonly kind: 'address is taken' | 'operator edits'; readonly host: number }
  | {
      readonly kind: 'agent is asked to look';
      readonly host: number;
      readonly address: string;
      readonly times: number;
    }
  | {
      readonly kind: 'rack goes dark' | 'rack loses the companion';
      readonly hosts: number;
      readonly forMs: number;
    }
  | { readonly kind: 'store is lost' };

export const WITNESS_HOSTS = 6;
/** The first four are `web`, the others `api`; each calls the other. */
export const WEB_HOSTS = 4;
const SHORT_OR_LONG_MS = [5_000, 30_000, 200_000] as const;

export const WITNESS_FAULTS: Readonly<Record<WitnessFault['kind'], (draw: Draw) => WitnessFault>> = {
  'host goes dark': atHost('host goes dark'),
  'host freezes': atHost('host freezes', [4_000, 20_000]),
  'agent freezes': atHost('agent freezes', [20_000, 100_000]),
  'firewall fails over': atHost('firewall fails over', [1_000, 15_000]),
  'firewall cuts all': atHost('firewall cuts all'),
  'firewall rejects': atHost('firewall rejects'),
  'agent attaches slowly': atHost('agent attaches slowly'),
  'agent is asked to look': (draw) => ({
    kind: 'agent is asked to look',
    host: anyHost(draw),
    address: draw.of([...FORBIDDEN, '10.0.0.0']),
    times: draw.of([1, 500]),
  }),
  'new connects are dropped': atHost('new connects are dropped'),
  'only clients are let in': atHost('only clients are let in'),
  'connects are redirected': atHost('connects are redirected'),
  'companion cannot look': atHost('companion cannot look'),
  'host cannot connect': atHost('host cannot connect'),
  'health check fails': atHost('health check fails', [3_000, 20_000]),
  'peer cannot connect': (draw) => ({
    kind: 'peer cannot connect',
    host: anyHost(draw),
    from: anyHost(draw),
    forMs: draw.of(SHORT_OR_LONG_MS),
  }),
  'witness stalls': atHost('witness stalls', [200, 800, 3_000]),
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
    forMs: draw.of(SHORT_OR_LONG_MS),
  }),
  'rack loses the companion': (draw) => ({
    kind: 'rack loses the companion',
    hosts: draw.of([3, WITNESS_HOSTS]),
    forMs: draw.of(SHORT_OR_LONG_MS),
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
  return { seed, database, planes: shape.planes, steps, witnesses: true, ...closed, ...drawDelay(seed) };
}

function drawWitnessFault(draw: Draw): HistoryFault {
  if (draw.chance(0.25)) return { kind: 'host crashes', host: anyHost(draw) };
  return draw.of(Object.values(WITNESS_FAULTS))(draw);
}

function anyHost(draw: Draw): number {
  return draw.below(WITNESS_HOSTS);
}

function atHost(
  kind: HostFault['kind'],
  lastsMs: readonly number[] = SHORT_OR_LONG_MS,
): (draw: Draw) => HostFault {
  return (draw) => ({ kind, host: anyHost(draw), forMs: draw.of(lastsMs) });
}
