import { DEFAULT_FACTS, type ControlPlaneFacts } from '../../kuma/control-plane.ts';
import type { DataplaneResource } from '../../kuma/dataplane.ts';
import {
  ConfirmResponse_Verdict,
  Owner as WireOwner,
  Rotation_Turn,
  Testimony_Result,
  Wish_State,
  type Attached as WireAttached,
  type AttachRequest,
  type ConfirmResponse,
  type ControlPlane,
  type Incarnation,
  type Look,
  type RegisterRequest,
  type Rotation,
  type Waiting,
  type Wish as WireWish,
} from '../../proto/gen/deregistrar/v1/deregistrar.ts';
import type { Duration } from '../../proto/gen/google/protobuf/duration.ts';
import { fromWireDuration } from '../../proto/wire-duration.ts';
import type { Want, Wish } from '../../kuma/object-wish.ts';
import { OperationalError } from '../../kernel/errors.ts';
import { VERSION } from '../../kernel/version.ts';
import type { Owner } from '../identity/owner.pure.ts';
import type { Phase } from '../stop/phases.pure.ts';
import type {
  AgentStatus,
  Attached,
  Confirmation,
  Departure,
  Hello,
  LastWords,
  LookRequest,
} from '../ports.ts';
import type { LookFinding, LookResult } from '../../kernel/tcp-findings.ts';

/** @param anonymous stands for the incarnation of a caller that names a dataplane without having run it */
export function toIncarnation({ key, own }: Departure, anonymous: string): Incarnation {
  return {
    dataplane: { mesh: key.mesh, name: key.name },
    id: own.incarnation ?? anonymous,
    address: own.address ?? '',
  };
}

/** Everything but `absent`, which is Deregister. */
export type RegisterWish = Exclude<Wish, { readonly state: 'absent' }>;

/** A companion of 0.1.0 goes by `ready` and `rotation`, a later one by `wish`. */
export function toRegister(
  departure: Departure,
  { wish, template }: Want & { readonly wish: RegisterWish },
  anonymous: string,
): RegisterRequest {
  const rotation = toRotation(wish, template !== undefined);
  return {
    incarnation: toIncarnation(departure, anonymous),
    resource: toResource(template),
    ready: rotation === undefined && wish.state === 'ready',
    rotation,
    wish: toWish(wish),
  };
}

/** How 0.1.0 says it; `undefined` where that puts the object: `hidden` for a start, `ready` for an owner. */
function toRotation(wish: RegisterWish, creates: boolean): Rotation | undefined {
  const look = { turn: Rotation_Turn.LOOK, states: {}, leaveProbed: false };
  switch (wish.state) {
    case 'hidden':
      return wish.takeOver ? undefined : look;
    case 'ready': {
      const { states, leaveProbed } = wish;
      return creates && leaveProbed ? undefined : { turn: Rotation_Turn.IN, states, leaveProbed };
    }
    case 'unmarked':
      return look;
    case 'out':
      return Object.keys(wish.states).length === 0 ? look : { ...look, turn: Rotation_Turn.OUT };
  }
}

function toWish(wish: RegisterWish): WireWish {
  const nothing = { takeOver: false, states: {}, leaveProbed: false };
  switch (wish.state) {
    case 'hidden':
      return { ...nothing, state: Wish_State.HIDDEN, takeOver: wish.takeOver };
    case 'ready': {
      const { states, leaveProbed } = wish;
      return { ...nothing, state: Wish_State.READY, states, leaveProbed };
    }
    // A companion undoes its own changes before it considers any wish; this wish asks for nothing else.
    case 'unmarked':
      return { ...nothing, state: Wish_State.OUT };
    case 'out': {
      const states = wish.states === 'any' ? {} : wish.states;
      return { ...nothing, state: Wish_State.OUT, states };
    }
  }
}

/** @param looks whether this agent answers a Look */
export function toHello(hello: Hello, anonymous: string, looks: boolean): AttachRequest {
  const { departure, owner, deletable, resource, status } = hello;
  return {
    message: {
      $case: 'hello',
      value: {
        incarnation: toIncarnation(departure, anonymous),
        owner: OWNERS[owner],
        deletable,
        resource: toResource(resource),
        phase: PHASES[status.phase],
        agentVersion: VERSION,
        epoch: hello.epoch ?? 0,
        answersAsks: true,
        looks,
        waits: true,
        takesNews: true,
      },
    },
  };
}

export function fromLook(look: Look): LookRequest {
  const { targets, control, closedPort, timeout } = look;
  return {
    targets,
    control,
    closedPort: closedPort === 0 ? undefined : closedPort,
    timeoutMs: milliseconds(timeout) ?? 0,
  };
}

export function toTestimony(id: number, findings: readonly LookFinding[]): AttachRequest {
  return {
    message: {
      $case: 'testimony',
      value: {
        id,
        findings: findings.map(({ target, result, reason }) => ({
          target: { address: target.address, port: target.port },
          result: RESULTS[result],
          reason,
        })),
      },
    },
  };
}

/** @param owner where it is another than the hello said */
export function toPhaseChanged({ phase, serving }: AgentStatus, owner?: Owner): AttachRequest {
  const changed = owner === undefined ? WireOwner.UNSPECIFIED : OWNERS[owner];
  return { message: { $case: 'phaseChanged', value: { phase: PHASES[phase], serving, owner: changed } } };
}

export function toStopped({ report, keep }: LastWords): AttachRequest {
  return { message: { $case: 'stopped', value: { report, keep } } };
}

/** Kuma's defaults replace missing facts, for example if `GET /config` cannot be read. */
export function fromControlPlane(said: ControlPlane | undefined): ControlPlaneFacts {
  if (said === undefined) return DEFAULT_FACTS;
  const { version, instanceId, mode, propagation, deregistrationDelay, hdsDelay } = said;
  return {
    version: textOrNone(version),
    instanceId: textOrNone(instanceId),
    mode: textOrNone(mode),
    propagationMs: milliseconds(propagation) ?? DEFAULT_FACTS.propagationMs,
    deregistrationDelayMs: milliseconds(deregistrationDelay),
    hdsDelayMs: milliseconds(hdsDelay),
    ...otherZonesIn(said),
  };
}

function otherZonesIn(said: ControlPlane): Pick<ControlPlaneFacts, 'otherZones'> {
  const ingressMs = milliseconds(said.ingressPropagation);
  const lastOfServiceMs = milliseconds(said.lastOfServicePropagation);
  if (ingressMs === undefined || lastOfServiceMs === undefined) return {};
  return { otherZones: { ingressMs, lastOfServiceMs } };
}

export function fromConfirmation({ verdict, reason }: ConfirmResponse): Confirmation {
  switch (verdict) {
    case ConfirmResponse_Verdict.GONE:
      return { verdict: 'gone' };
    case ConfirmResponse_Verdict.DELETED:
      return { verdict: 'deleted' };
    case ConfirmResponse_Verdict.WAIT:
      return { verdict: 'wait', reason };
    case ConfirmResponse_Verdict.LEAVE:
      return { verdict: 'leave', reason };
    case ConfirmResponse_Verdict.UNSPECIFIED:
      throw new OperationalError(
        'ANSWER_UNREADABLE',
        'Cannot confirm that the object is gone: the companion gave no verdict',
      );
  }
}

/** The resource as JSON; empty without a readable one. */
function toResource(resource: DataplaneResource | undefined): Buffer {
  return resource === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(resource));
}

const OWNERS: Readonly<Record<Owner, WireOwner>> = {
  cp: WireOwner.CONTROL_PLANE,
  agent: WireOwner.AGENT,
  external: WireOwner.EXTERNAL,
};

const RESULTS: Readonly<Record<LookResult, Testimony_Result>> = {
  reached: Testimony_Result.REACHED,
  refused: Testimony_Result.REFUSED,
  silent: Testimony_Result.SILENT,
  unable: Testimony_Result.UNABLE,
};

/** The contract has a word for each phase that concerns the companion. */
const PHASES: Readonly<Record<Phase['name'], string>> = {
  starting: 'starting',
  running: 'running',
  deregistering: 'deregistering',
  settling: 'settling',
  draining: 'draining',
  exiting: 'exiting',
  confirming: 'exiting',
  stopped: 'exiting',
};

function textOrNone(text: string): string | undefined {
  return text === '' ? undefined : text;
}

function milliseconds(duration: Duration | undefined): number | undefined {
  return duration === undefined ? undefined : fromWireDuration(duration);
}

export function fromAttached(said: WireAttached): Attached {
  const { epoch, fenced, controlPlane, held, takesOwner, sendsNews } = said;
  const facts = fromControlPlane(controlPlane);
  return {
    epoch: fenced ? epoch : undefined,
    facts,
    ...(held === '' ? {} : { held }),
    ...(takesOwner ? { takesOwner } : {}),
    ...(sendsNews ? { sendsNews } : {}),
  };
}

/** After this wait an agent attaches anew, perhaps elsewhere. */
const LONGEST_WAIT_MS = 120_000;

/** @returns how long the companion may take to attach this agent, in ms */
export function fromWaiting({ within }: Waiting): number {
  return Math.min(LONGEST_WAIT_MS, milliseconds(within) ?? 0);
}
