import { BUSY, THREE_A_SECOND, type Use } from './scenario.ts';

/**
 * The subject that stops, seen from a client in zone 1 that calls a service: the service's last dataplane in zone 2
 * (another one is in zone 1), one of two ingresses of zone 2, one of two egresses of zone 1.
 */
export type ZoneSubject = 'last of its service' | 'zone ingress' | 'zone egress';

export interface ZoneScenario {
  readonly title: string;
  readonly subject: ZoneSubject;
  readonly use: Use;
  /** Both ingresses are behind one address, at a load balancer that asks each for `/ready`. */
  readonly balanced?: true;
  /** How many requests may fail with the agent, however many fail alone. */
  readonly failed?: number;
}

export const ZONES: readonly ZoneScenario[] = [
  { title: 'zone ingress, one of two, busy', subject: 'zone ingress', use: BUSY },
  { title: 'zone egress, one of two, busy', subject: 'zone egress', use: BUSY },
  {
    title: 'zone egress, one of two, three new connections a second',
    subject: 'zone egress',
    use: THREE_A_SECOND,
  },
];
