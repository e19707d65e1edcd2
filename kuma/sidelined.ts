import type { DataplaneResource } from './dataplane.ts';
import type { DataplaneOverview } from './overview.ts';
import { portKey, portsOf, stateOf, withPorts, type Port, type PortStates } from './port-states.ts';

/**
 * The label by which an object says that the companion has sidelined it: for which loss, and which ports were Ready.
 * Kuma keeps labels from 2.10 on.
 */
export const SIDELINED_LABEL = 'kuma-deregistrar/sidelined';

/** Names one loss of one incarnation's stream. */
export interface LossNumber {
  readonly epoch: number;
  /** When the stream was lost, by the store's clock, in ms. No incarnation is lost twice at one moment. */
  readonly lostAtMs: number;
}

export interface Sidelined {
  readonly resource: DataplaneResource;
  /** The states to go back to, of the ports that were changed. */
  readonly states: PortStates;
}

/** @returns the object with every Ready port NotReady, and marked; `undefined` if no port is Ready */
export function sideline(stored: DataplaneResource, loss: LossNumber): Sidelined | undefined {
  const ready = portsOf(stored).map((port) => stateOf(port) === 'Ready');
  if (!ready.includes(true)) return undefined;
  const states = Object.fromEntries(
    portsOf(stored).flatMap((port, at) => (ready[at] === true ? [[portKey(port), 'Ready']] : [])),
  );
  const out = withPorts(stored, (port) =>
    stateOf(port) === 'Ready' ? { ...port, state: 'NotReady' } : port,
  );
  const labels = { ...stored.labels, [SIDELINED_LABEL]: markOf(loss, ready) };
  return { resource: { ...out, labels }, states };
}

/** Whether the object bears the mark of this loss, or of any if none is given. */
export function isSidelined({ labels }: Pick<DataplaneResource, 'labels'>, loss?: LossNumber): boolean {
  const mark = labels?.[SIDELINED_LABEL];
  return mark !== undefined && (loss === undefined || mark.startsWith(lossText(loss)));
}

/** The loss that the mark names. For a malformed or missing mark: a loss that no record has. */
export function lossOf({ labels }: Pick<DataplaneResource, 'labels'>): LossNumber {
  const [, epoch = '0', lostAtMs = '0'] =
    /^(\d{1,15})-(\d{1,15})-/.exec(labels?.[SIDELINED_LABEL] ?? '') ?? [];
  return { epoch: Number(epoch), lostAtMs: Number(lostAtMs) };
}

/**
 * The object as it would be if it had not been sidelined. Only ports that were changed and are still NotReady go back.
 * A port that another writer has changed since keeps its state.
 *
 * @param states the states to go back to, where they are known; else the mark says which ports were Ready
 * @returns the same object if there is nothing to put back
 */
export function restored(stored: DataplaneResource, states?: PortStates): DataplaneResource {
  const mark = stored.labels?.[SIDELINED_LABEL];
  if (mark === undefined && states === undefined) return stored;
  const before = states ?? (mark === undefined ? {} : statesIn(mark, portsOf(stored)));
  const back = (port: Port): Port => {
    const state = before[portKey(port)];
    return state === undefined || stateOf(port) !== 'NotReady' ? port : { ...port, state };
  };
  const isOut = portsOf(stored).some((port) => back(port) !== port);
  const resource = isOut ? withPorts(stored, back) : stored;
  return mark === undefined ? resource : withoutMark(resource);
}

/** The overview with the object as {@link restored} has it. */
export function beforeSidelining(stored: DataplaneOverview, states?: PortStates): DataplaneOverview {
  const resource = restored(stored.resource, states);
  if (resource === stored.resource) return stored;
  return { ...stored, resource, labels: resource.labels ?? {}, networking: resource.networking };
}

function withoutMark(resource: DataplaneResource): DataplaneResource {
  const { [SIDELINED_LABEL]: _, ...labels } = resource.labels ?? {};
  return { ...resource, labels };
}

/** `12-1796055000000-5`: epoch, time of the loss, and one bit for each port that was Ready, the first port's lowest. */
function markOf(loss: LossNumber, ready: readonly boolean[]): string {
  const bits = ready.reduce((sum, each, at) => (each && at < MOST_BITS ? sum | (1n << BigInt(at)) : sum), 0n);
  return `${lossText(loss)}${bits.toString(16)}`;
}

/** A label's value has at most 63 characters, of which epoch and time take up to 32. */
const MOST_BITS = 120;

function lossText({ epoch, lostAtMs }: LossNumber): string {
  return `${epoch}-${lostAtMs}-`;
}

function statesIn(mark: string, ports: readonly Port[]): PortStates {
  const [, hex = ''] = /^\d+-\d+-([\da-f]{1,30})$/.exec(mark) ?? [];
  const bits = hex === '' ? 0n : BigInt(`0x${hex}`);
  return Object.fromEntries(
    ports.flatMap((port, at) => (((bits >> BigInt(at)) & 1n) === 1n ? [[portKey(port), 'Ready']] : [])),
  );
}
