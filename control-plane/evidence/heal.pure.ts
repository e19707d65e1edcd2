import { takesDataplanes } from '../../kuma/control-plane.ts';
import { INCARNATION_LABEL, type DataplaneResource } from '../../kuma/dataplane.ts';
import { asWished, readyAs } from '../../kuma/object-wish.ts';
import { stateOf, withPorts } from '../../kuma/port-states.ts';
import { judgeOwnership } from '../../kuma/ownership.ts';
import type { Surroundings } from './guards.pure.ts';
import type { DataplaneRecord } from '../records.pure.ts';

/** An attached dataplane without an object in the list of all. Durations are monotonic. */
export interface MissingCase {
  readonly record: Pick<
    DataplaneRecord,
    'state' | 'lostAtMs' | 'owner' | 'deletable' | 'phase' | 'incarnation' | 'address'
  >;
  /** Whether Envoy serves, by its agent's last report. */
  readonly serving: boolean;
  /** The number of looks in a row without an object, and the time from the first to the last. */
  readonly absence: { readonly looks: number; readonly spanMs: number };
  /** Whether its agent has sent a message, or its connection any byte, since the object was found missing. */
  readonly provenAlive: boolean;
  readonly around: Surroundings;
  /** The body that this process saw last. */
  readonly lastSeen: DataplaneResource | undefined;
  /** The rendered Dataplane, as its agent brought it. */
  readonly brought: DataplaneResource | undefined;
}

/** `put` only while holding the name, and only if a read of this one object finds nothing either. */
export type Healing =
  | { readonly verdict: 'put'; readonly resource: DataplaneResource; readonly reason: string }
  | { readonly verdict: 'leave'; readonly reason: string };

/** Longer than the caches of two control planes that answer in turn (1 s), and than a page that skipped one. */
const ABSENCE_MS = 5_000;
/** A control plane that has just started may not have registered it again yet. */
const STEADY_MS = 15_000;

/**
 * Whether to put back the object of a running dataplane. Kuma's own races delete it. Its Envoy then gets no more
 * configuration, and its peers no endpoint, until it connects anew.
 *
 * @see https://github.com/kumahq/kuma/issues/4616, https://github.com/kumahq/kuma/issues/6653
 */
export function judgeMissing(given: MissingCase): Healing {
  const doubt = doubtAgent(given) ?? doubtAbsence(given);
  if (doubt !== undefined) return { verdict: 'leave', reason: doubt };
  const resource = bodyOf(given);
  if (resource === undefined) return { verdict: 'leave', reason: 'there is no body to put back' };
  return { verdict: 'put', resource, reason: 'its agent runs and its object is gone' };
}

function doubtAgent({ record, serving }: MissingCase): string | undefined {
  const { state, owner, deletable, phase, lostAtMs } = record;
  if (state !== 'attached' || lostAtMs !== undefined) return `its agent is not attached: ${state}`;
  if (owner === 'external') return 'an operator applied it';
  if (!deletable) return 'its agent would not delete it';
  // A stopping agent may delete the object before the companion receives its phase.
  if (phase !== 'running') return `its agent is not running: ${phase === '' ? 'unknown' : phase}`;
  return serving ? undefined : 'its Envoy does not serve';
}

function doubtAbsence({ absence, provenAlive, around }: MissingCase): string | undefined {
  if (around.zone.kind === 'foreign') return around.zone.reason;
  if (around.zone.kind === 'unchecked') return 'the companion does not know its zone yet';
  if (!takesDataplanes(around.mode)) {
    return `this is a ${around.mode ?? ''} control plane`;
  }
  if (around.liveInstances.size === 0 || around.silentControlPlanes > 0) {
    return 'not every control plane answers';
  }
  if (around.steadyMs < STEADY_MS) return 'the control plane or the companion has just started';
  if (absence.looks < 2 || absence.spanMs < ABSENCE_MS) return 'it has not been missing for long enough';
  // A silent stream looks open for a while: its dataplane may have deleted the object itself in another way.
  if (!provenAlive) return 'its agent has sent nothing since the object went missing';
  return undefined;
}

/** The last seen body may be another incarnation's: then the agent's own is used. */
function bodyOf({ record, lastSeen, brought }: MissingCase): DataplaneResource | undefined {
  const { incarnation, address, owner } = record;
  const body =
    lastSeen !== undefined && judgeOwnership({ incarnation, address }, lastSeen).ours ? lastSeen : brought;
  if (body === undefined || owner !== 'agent') return body;
  const labelled = { ...body, labels: { ...body.labels, [INCARNATION_LABEL]: incarnation } };
  // An agent states the state of each port, so this does too: Ready is not left to the control plane's default.
  const stated = withPorts(labelled, (port) => ({ ...port, state: stateOf(port) }));
  return asWished(stated, readyAs(brought ?? labelled));
}
