import * as z from 'zod/mini';

import { OperationalError } from '../../kernel/errors.ts';
import { DATAPLANE_NAME, DataplaneResource, type DataplaneKey } from '../../kuma/dataplane.ts';
import { readyAs, type Want, type Wish } from '../../kuma/object-wish.ts';
import type { PortStates } from '../../kuma/port-states.ts';
import {
  Owner as WireOwner,
  Rotation_Turn,
  type DataplaneKey as WireKey,
  type Hello,
  type Incarnation,
  type RegisterRequest,
  type Rotation,
  type Testimony,
  Testimony_Result,
  type Wish as WireWish,
  Wish_State,
} from '../../proto/gen/deregistrar/v1/deregistrar.ts';
import type { ObjectOwner } from '../records.pure.ts';
import type { WitnessTestimony } from '../attached-agent.ts';
import type { Introduction } from '../ports.ts';
import { nestingOf, parseJson } from '../../kernel/json.ts';
import type { LookResult } from '../../kernel/tcp-findings.ts';

const MAX_NAME = 253;
const MAX_MESH = 63;
/** It becomes a label's value. */
const INCARNATION = /^[A-Za-z0-9][A-Za-z0-9-]{7,62}$/;
const MAX_TEXT = 253;
const MAX_PORTS = 256;
const PORT_STATES: ReadonlySet<string> = new Set(['Ready', 'NotReady', 'Ignored']);
const MAX_RESOURCE_BYTES = 128 * 1_024;
/** A Dataplane has seven. */
const MAX_NESTING = 64;

const OWNERS: ReadonlyMap<WireOwner, ObjectOwner> = new Map<WireOwner, ObjectOwner>([
  [WireOwner.CONTROL_PLANE, 'cp'],
  [WireOwner.AGENT, 'agent'],
  [WireOwner.EXTERNAL, 'external'],
]);

const FINDINGS: ReadonlyMap<Testimony_Result, LookResult> = new Map<Testimony_Result, LookResult>([
  [Testimony_Result.REACHED, 'reached'],
  [Testimony_Result.REFUSED, 'refused'],
  [Testimony_Result.SILENT, 'silent'],
]);

/** @throws `REQUEST_INVALID` */
export function readKey(wire: WireKey | undefined): DataplaneKey {
  const { mesh = '', name = '' } = wire ?? {};
  requireValid(mesh.length <= MAX_MESH && DATAPLANE_NAME.test(mesh), 'mesh is not the name of a mesh');
  requireValid(name.length <= MAX_NAME && DATAPLANE_NAME.test(name), 'name is not the name of a dataplane');
  return { proxyType: 'dataplane', mesh, name };
}

/** @throws `REQUEST_INVALID` */
export function readIncarnation(
  wire: Incarnation | undefined,
): Pick<Introduction, 'key' | 'incarnation' | 'address'> {
  const key = readKey(wire?.dataplane);
  const { id = '', address = '' } = wire ?? {};
  requireValid(INCARNATION.test(id), 'the incarnation is not a UUID');
  requireValid(address.length <= MAX_TEXT && /^[!-~]*$/.test(address), 'invalid address');
  return { key, incarnation: id, address: address === '' ? undefined : address };
}

/**
 * The wish of a Register, of a present agent or of one of 0.1.0.
 *
 * @throws `REQUEST_INVALID`
 */
export function readRegister(key: DataplaneKey, { resource, ready, rotation, wish }: RegisterRequest): Want {
  if (wish !== undefined) {
    const template = resource.length === 0 ? undefined : readResource(key, resource);
    return { wish: readWish(wish), template };
  }
  if (rotation !== undefined) return { wish: readRotation(rotation), template: undefined };
  const template = readResource(key, resource);
  return { wish: ready ? readyAs(template) : { state: 'hidden', takeOver: true }, template };
}

function readWish({ state, takeOver, states, leaveProbed }: WireWish): Wish {
  switch (state) {
    case Wish_State.HIDDEN:
      return { state: 'hidden', takeOver };
    case Wish_State.READY:
      return { state: 'ready', states: readStates(states), leaveProbed };
    case Wish_State.OUT:
      return { state: 'out', states: readStates(states) };
    case Wish_State.UNSPECIFIED:
      throw new OperationalError('REQUEST_INVALID', 'Cannot read the request: it names no state');
  }
}

/** For agents of 0.1.0: their OUT does not wait until the states are recorded. */
function readRotation({ turn, states, leaveProbed }: Rotation): Wish {
  switch (turn) {
    case Rotation_Turn.LOOK:
      return { state: 'out', states: {} };
    case Rotation_Turn.OUT:
      return { state: 'out', states: 'any' };
    case Rotation_Turn.IN:
      return { state: 'ready', states: readStates(states), leaveProbed };
    case Rotation_Turn.UNSPECIFIED:
      throw new OperationalError(
        'REQUEST_INVALID',
        'Cannot change the rotation: the request names no direction',
      );
  }
}

function readStates(states: PortStates): PortStates {
  const entries = Object.entries(states);
  const valid = entries.every(([port, state]) => port.length <= MAX_TEXT && PORT_STATES.has(state));
  requireValid(entries.length <= MAX_PORTS && valid, 'invalid port states');
  return states;
}

/**
 * @returns the introduction, and the resource that it brings, as it was read
 * @throws `REQUEST_INVALID`
 */
export function readHello(hello: Hello): {
  readonly introduction: Introduction;
  readonly brought: DataplaneResource | undefined;
} {
  const incarnation = readIncarnation(hello.incarnation);
  const owner = OWNERS.get(hello.owner);
  requireValid(owner !== undefined, 'unknown owner');
  const { resource } = hello;
  const brought = resource.length === 0 ? undefined : readResource(incarnation.key, resource);
  const introduction = {
    ...incarnation,
    owner,
    deletable: hello.deletable,
    resource: brought === undefined ? undefined : JSON.stringify(brought),
    phase: readPhase(hello.phase),
    ...(hello.epoch > 0 ? { shownEpoch: hello.epoch } : {}),
  };
  return { introduction, brought };
}

/**
 * The introduction of an agent that leaves without having attached here
 *
 * @throws `REQUEST_INVALID`
 */
export function asIntroduction(wire: Incarnation | undefined): Introduction {
  const incarnation =
    wire?.id === ''
      ? { key: readKey(wire.dataplane), incarnation: '', address: undefined }
      : readIncarnation(wire);
  return { ...incarnation, owner: 'cp', deletable: true, resource: undefined, phase: 'leaving' };
}

/** Drops invalid answers. */
export function readTestimony({ id, findings }: Testimony): WitnessTestimony {
  return { id, findings: findings.slice(0, MAX_PORTS).map(({ result }) => FINDINGS.get(result) ?? 'unable') };
}

/**
 * @returns `undefined` if the owner has not changed
 * @throws `REQUEST_INVALID`
 */
export function readOwner(wire: WireOwner): ObjectOwner | undefined {
  if (wire === WireOwner.UNSPECIFIED) return undefined;
  const owner = OWNERS.get(wire);
  requireValid(owner !== undefined, 'unknown owner');
  return owner;
}

/** @throws `REQUEST_INVALID` */
export function readPhase(phase: string): string {
  requireValid(/^[a-z -]{0,32}$/.test(phase), 'invalid phase');
  return phase;
}

/** @throws `REQUEST_INVALID` if it is not JSON of a Dataplane of this name */
function readResource(key: DataplaneKey, bytes: Uint8Array): DataplaneResource {
  requireValid(bytes.length <= MAX_RESOURCE_BYTES, `the resource is larger than ${MAX_RESOURCE_BYTES} bytes`);
  const text = readText(bytes);
  requireValid(nestingOf(text) <= MAX_NESTING, `the resource is nested deeper than ${MAX_NESTING} levels`);
  const parsed = z.safeParse(DataplaneResource, parseJson(text));
  requireValid(parsed.success, 'the resource is not a Dataplane');
  const { type, mesh, name } = parsed.data;
  requireValid(
    type === 'Dataplane' && mesh === key.mesh && name === key.name,
    'the resource is of another dataplane',
  );
  return parsed.data;
}

/** Empty for invalid UTF-8. */
function readText(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return '';
  }
}

function requireValid(valid: boolean, problem: string): asserts valid {
  if (!valid) throw new OperationalError('REQUEST_INVALID', `Cannot read the request: ${problem}`);
}
