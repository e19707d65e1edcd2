import { type Fields } from './store.ts';

/** The parts of an inbound that the emulator and the stand-in look at. */
export interface Inbound {
  readonly port: number;
  readonly address?: string;
  readonly servicePort?: number;
  readonly serviceAddress?: string;
  readonly name?: string;
  readonly protocol?: string;
  readonly tags?: Readonly<Record<string, string>>;
  readonly state?: string;
  readonly health?: { readonly ready?: boolean };
  readonly serviceProbe?: { readonly interval?: string; readonly timeout?: string };
}

interface Outbound {
  readonly port: number;
  readonly address?: string;
  readonly tags?: Readonly<Record<string, string>>;
}

export interface Networking {
  readonly address?: string;
  readonly port?: number;
  /** Of a ZoneIngress: where other zones reach it. */
  readonly advertisedAddress?: string;
  readonly advertisedPort?: number;
  readonly inbound?: readonly Inbound[];
  readonly outbound?: readonly Outbound[];
  readonly listeners?: readonly Fields[];
  readonly gateway?: Fields;
  readonly admin?: { readonly port?: number };
}

/** The networking section of an object that passed validation. */
export function networkingOf(spec: Fields): Networking {
  return (spec['networking'] as Networking | undefined) ?? {};
}

/** Where the application behind an inbound listens. */
export function workloadOf(inbound: Inbound): { readonly address: string; readonly port: number } {
  return { address: inbound.serviceAddress ?? '127.0.0.1', port: inbound.servicePort ?? inbound.port };
}

/** Whether peers are told about an inbound. */
export function isReady(inbound: Inbound): boolean {
  if (inbound.health !== undefined && inbound.health.ready !== true) return false;
  return inbound.state === undefined || inbound.state === 'Ready';
}

/** The inbound as the control plane writes it when its health changes. */
export function withReadiness(inbound: Inbound, ready: boolean): Inbound {
  const { state: _state, health: _health, ...rest } = inbound;
  return ready ? { ...rest, health: { ready: true } } : { ...rest, health: {}, state: 'NotReady' };
}
