import type { Clock } from '../../kernel/clock.ts';
import { portStates } from '../../kuma/port-states.ts';
import { kumaDpReadiness } from '../child/kuma-dp-readiness.io.ts';
import type { AgentEvents } from '../events.ts';
import { usedProxy } from '../identity/used-proxy.pure.ts';
import type { RotationRecord } from '../object/rotation-record.pure.ts';
import { Rotation } from '../object/rotation.ts';
import type { EnvoyAdmin } from '../ports.ts';
import { StateNotes } from '../state/state-notes.ts';
import type { RunFacts, SupervisedDataplane } from '../stop/run-facts.ts';
import type { ServiceNotices } from '../systemd/service-notices.ts';
import type { PreparedDataplane } from './prepare.ts';

/** A dataplane that can be deregistered, with the writers of its state file and its rotation. */
export interface TrackedDataplane extends PreparedDataplane {
  readonly supervised: SupervisedDataplane;
  /** `undefined` for the zone proxies. */
  readonly rotation: Rotation | undefined;
  readonly notes: StateNotes;
  onEnvoySeen(admin: EnvoyAdmin | undefined): void;
  /** The control plane has given Envoy its configuration, or Envoy cannot be asked. */
  onAccepted(): void;
  /** Envoy serves from now on. */
  onServing(): void;
}

export interface TrackContext {
  readonly clock: Clock;
  readonly events: AgentEvents;
  readonly facts: RunFacts;
  /** `undefined` where no service manager listens. */
  readonly service: Pick<ServiceNotices, 'onRotation'> | undefined;
}

export function trackDataplane(prepared: PreparedDataplane, context: TrackContext): TrackedDataplane {
  const { keeper, attachment, endpoints, host, stateFile } = prepared;
  const notes = new StateNotes(prepared.initialState, {
    events: context.events,
    host,
    facts: () => endpoints.facts,
    write: (state) => stateFile.write(state),
  });
  const rotation = openRotation(prepared, notes, context);
  const settleLeftMs = (): number => rotation?.settleLeftMs ?? keeper.settleMs;
  return {
    ...prepared,
    supervised: supervised(prepared, { settleLeftMs, notes }),
    rotation,
    notes,
    onEnvoySeen: (admin) => {
      rotation?.onEnvoySeen(admin);
    },
    onAccepted: () => {
      notes.noteAccepted();
      keeper.onConfiguration('given');
    },
    onServing: () => {
      attachment?.onServing();
      keeper.onServing();
    },
  };
}

function openRotation(
  prepared: PreparedDataplane,
  notes: StateNotes,
  { clock, events, facts, service }: TrackContext,
): Rotation | undefined {
  const { initialState, attachment, identity, keeper, owner } = prepared;
  const { key, resource } = identity;
  if (key.proxyType !== 'dataplane') return undefined;
  const tell = (record: RotationRecord | undefined): void => {
    const out = record?.wanted === 'out';
    attachment?.onRotation(out);
    service?.onRotation(out ? record.since : undefined);
  };
  tell(initialState.rotation);
  const rotation = new Rotation({
    clock,
    events,
    keeper,
    initial: initialState.rotation,
    owned: owner === 'agent',
    template: resource === undefined ? {} : portStates(resource),
    note: (record) => {
      notes.noteRotation(record);
      tell(record);
    },
    stopping: facts.stopping,
  });
  keeper.follow(rotation);
  return rotation;
}

function supervised(
  { label, owner, keeper, command, identity }: PreparedDataplane,
  run: Required<Pick<SupervisedDataplane, 'settleLeftMs' | 'notes'>>,
): SupervisedDataplane {
  return {
    ...run,
    label,
    lifecycle: owner,
    registration: keeper,
    unregisteredBecause: '',
    readiness: kumaDpReadiness(command.readinessPort),
    proxy: usedProxy(identity),
  };
}
