import {
  DEFAULT_BRAKE,
  judgeBrake,
  type PastDeletion,
} from '../../../../control-plane/evidence/brake.pure.ts';
import {
  judgeDeletion,
  sameLook,
  type DeletionCase,
  type Surroundings,
} from '../../../../control-plane/evidence/guards.pure.ts';
import { judgeMissing } from '../../../../control-plane/evidence/heal.pure.ts';
import {
  CAUSES,
  type Cause,
  type ObjectOwner,
  type RecordState,
} from '../../../../control-plane/records.pure.ts';
import { findOffline } from '../../../../control-plane/evidence/sweep.pure.ts';
import type { DataplaneResource } from '../../../../kuma/dataplane.ts';
import type { DataplaneOverview } from '../../../../kuma/overview.ts';
import type { WorldControlPlane } from './world-control-plane.ts';

export const GRACE_MS = 15_000;
const SWEEP_AFTER_MS = 120_000;
const TICK_EVERY_MS = 5_000;

interface Row {
  readonly epoch: number;
  readonly incarnation: string;
  readonly owner: ObjectOwner;
  state: RecordState;
  sinceMs: number;
  lostAtMs: number | undefined;
  dueAtMs: number;
}

/** A companion that was there from the beginning has seen each instance. */
const KNOWN = {
  endedInstances: new Set<string>(),
  doubtfulInstances: new Set<string>(),
  zone: { kind: 'same' },
} as const;

interface Look {
  readonly look: DataplaneOverview;
  readonly sinceMs: number;
}

/** The reason of a deletion, to be checked against the truth. */
export interface Deletion {
  readonly name: string;
  readonly cause: Cause;
  readonly incarnation: string;
}

/**
 * A companion on its own store. The store is the contract of `ports.ts` in a few lines; every decision is the real
 * one. The contents of `#process` end with the process; `rows`, `#ended` and `#past` outlive it.
 */
export class SimpleCompanion {
  readonly rows = new Map<string, Row>();
  upSinceMs: number | undefined;
  pausedUntilMs = 0;
  /** How far the wall clock is ahead of the truth. */
  wallSkewMs = 0;
  released = false;
  readonly #controlPlane: WorldControlPlane;
  readonly #onDeletion: (deletion: Deletion) => void;
  readonly #ended = new Set<string>();
  #past: PastDeletion[] = [];
  #epochs = 0;
  #storeStartMs = 0;
  #highWaterMs = 0;
  #looks = new Map<string, Look>();
  #fleet = new Map<string, Look>();
  #absent = new Map<string, number>();
  #instance: { readonly id: string; readonly sinceMs: number } | undefined;
  #nextRoundMs = 0;

  constructor(controlPlane: WorldControlPlane, onDeletion: (deletion: Deletion) => void) {
    this.#controlPlane = controlPlane;
    this.#onDeletion = onDeletion;
  }

  /** How many objects this process remembers. */
  get remembered(): number {
    return this.#looks.size;
  }

  isUp(nowMs: number): boolean {
    return this.upSinceMs !== undefined && nowMs >= this.pausedUntilMs;
  }

  /** The store's clock starts from the wall clock, but never before its latest record. */
  start(nowMs: number): void {
    if (this.upSinceMs !== undefined) return;
    this.upSinceMs = nowMs;
    this.#storeStartMs = Math.max(this.#highWaterMs, nowMs + this.wallSkewMs);
    this.#nextRoundMs = nowMs;
    for (const [name, row] of this.rows)
      if (row.lostAtMs === undefined) this.detach(name, row.incarnation, nowMs);
  }

  stop(): void {
    this.upSinceMs = undefined;
    this.#looks = new Map();
    this.#fleet = new Map();
    this.#absent = new Map();
    this.#instance = undefined;
  }

  attach(name: string, incarnation: string, owner: ObjectOwner): 'attached' | 'leaving' | 'superseded' {
    const row = this.rows.get(name);
    this.#looks.delete(name);
    if (row?.incarnation === incarnation) {
      row.lostAtMs = undefined;
      if (row.state === 'leaving') return 'leaving';
      row.state = 'attached';
      return 'attached';
    }
    if (this.#ended.has(incarnation)) return 'superseded';
    if (row !== undefined) this.#ended.add(row.incarnation);
    this.#insert(name, { incarnation, owner, state: 'attached' });
    return 'attached';
  }

  detach(name: string, incarnation: string, nowMs: number): void {
    const row = this.rows.get(name);
    if (row?.incarnation !== incarnation || row.state === 'swept') return;
    row.lostAtMs ??= this.#nowMs(nowMs);
    if (row.state !== 'attached') return;
    Object.assign(row, { state: 'lost', sinceMs: row.lostAtMs, dueAtMs: row.lostAtMs + GRACE_MS });
  }

  leave(name: string, incarnation: string, nowMs: number): void {
    const row = this.rows.get(name);
    const atMs = this.#nowMs(nowMs);
    if (row?.incarnation === incarnation) {
      if (row.state !== 'leaving') Object.assign(row, { state: 'leaving', sinceMs: atMs, dueAtMs: atMs });
      return;
    }
    if (row !== undefined && row.incarnation !== '') return;
    this.#insert(name, { incarnation, owner: 'cp', state: 'leaving' });
    Object.assign(this.rows.get(name) ?? {}, { sinceMs: atMs, dueAtMs: atMs, lostAtMs: atMs });
  }

  tick(nowMs: number): void {
    if (!this.isUp(nowMs)) return;
    this.#highWaterMs = this.#nowMs(nowMs);
    this.#watch(nowMs);
    if (this.#controlPlane.instance === undefined) return;
    for (const [name, row] of this.rows) {
      if (row.state !== 'attached' && row.dueAtMs <= this.#highWaterMs) this.#attempt(name, row, nowMs);
    }
    if (nowMs < this.#nextRoundMs) return;
    this.#nextRoundMs = nowMs + TICK_EVERY_MS;
    this.#sweep(nowMs);
    for (const name of this.rows.keys()) this.#heal(name, nowMs);
  }

  #insert(name: string, row: Pick<Row, 'incarnation' | 'owner' | 'state'>): void {
    this.#epochs += 1;
    const times = { sinceMs: this.#highWaterMs, lostAtMs: undefined, dueAtMs: this.#highWaterMs };
    this.rows.set(name, { epoch: this.#epochs, ...row, ...times });
  }

  #nowMs(nowMs: number): number {
    return this.#storeStartMs + nowMs - (this.upSinceMs ?? nowMs);
  }

  #watch(nowMs: number): void {
    const id = this.#controlPlane.instance;
    if (id !== undefined && id !== this.#instance?.id) this.#instance = { id, sinceMs: nowMs };
    for (const name of this.#fleet.keys())
      if (!this.#controlPlane.objects.has(name)) this.#fleet.delete(name);
    for (const look of this.#controlPlane.overviews()) remember(this.#fleet, look, nowMs);
  }

  #around(nowMs: number): Surroundings {
    const upMs = nowMs - (this.upSinceMs ?? nowMs);
    const id = this.#controlPlane.instance;
    if (id === undefined || this.#instance === undefined) {
      const none = { liveInstances: new Set<string>(), mode: undefined, silentControlPlanes: 1, steadyMs: 0 };
      return { ...KNOWN, ...none, upMs };
    }
    const steadyMs = Math.min(upMs, nowMs - this.#instance.sinceMs);
    const endedInstances = new Set(this.#controlPlane.instances.filter((each) => each !== id));
    const zone = { liveInstances: new Set([id]), endedInstances, mode: 'zone' };
    return { ...KNOWN, ...zone, silentControlPlanes: 0, steadyMs, upMs };
  }

  #attempt(name: string, row: Row, nowMs: number): void {
    const stored = this.#controlPlane.overview(name);
    const atMs = this.#nowMs(nowMs);
    const around = this.#around(nowMs);
    if (stored === undefined) {
      if (row.lostAtMs === undefined || around.steadyMs >= GRACE_MS) this.#end(name, row);
      else row.dueAtMs = atMs + GRACE_MS - around.steadyMs;
      return;
    }
    const cause = CAUSES[row.state === 'attached' ? 'lost' : row.state];
    const judgement = judgeDeletion({
      cause,
      record: { incarnation: row.incarnation, deletable: row.state !== 'swept', address: `10.0.0.${name}` },
      predecessors: this.#ended,
      missingMs: row.lostAtMs === undefined ? undefined : Math.max(0, atMs - row.lostAtMs),
      pendingMs: Math.max(0, atMs - row.sinceMs),
      stored,
      unchangedMs: nowMs - remember(this.#looks, stored, nowMs),
      clockMs: Math.floor(nowMs / 1_000) * 1_000,
      around,
      graceMs: GRACE_MS,
      sweepOfflineAfterMs: SWEEP_AFTER_MS,
    } satisfies DeletionCase);
    if (judgement.verdict === 'refuse') this.#end(name, row);
    else if (judgement.verdict === 'wait') row.dueAtMs = atMs + judgement.retryAfterMs;
    else this.#delete(name, row, stored);
  }

  #delete(name: string, row: Row, stored: DataplaneOverview): void {
    const cause = CAUSES[row.state === 'attached' ? 'lost' : row.state];
    const view = {
      overviews: this.#controlPlane.overviews(),
      past: this.#past,
      releases: this.released ? [{ mesh: '', untilMs: Number.MAX_SAFE_INTEGER }] : [],
      nowMs: this.#highWaterMs,
      settings: { ...DEFAULT_BRAKE, windowMs: 60_000 },
    };
    const ruling = cause === 'requested' ? { held: false as const } : judgeBrake(view, stored);
    if (ruling.held) {
      row.dueAtMs = this.#highWaterMs + 5_000;
      return;
    }
    this.#onDeletion({ name, cause, incarnation: row.incarnation });
    this.#controlPlane.delete(name);
    const key = { proxyType: 'dataplane' as const, mesh: 'default', name };
    this.#past.push({ key, cause, outcome: 'deleted', atMs: this.#highWaterMs, services: ['web'] });
    this.#end(name, row);
  }

  /** An agent that asked to leave, or was superseded, may not come back under its incarnation. */
  #end(name: string, row: Row): void {
    if (row.state === 'leaving') this.#ended.add(row.incarnation);
    this.rows.delete(name);
    this.#looks.delete(name);
    this.#absent.delete(name);
  }

  #sweep(nowMs: number): void {
    const found = findOffline({
      overviews: this.#controlPlane.overviews(),
      clockMs: nowMs,
      around: this.#around(nowMs),
      graceMs: GRACE_MS,
      sweepOfflineAfterMs: SWEEP_AFTER_MS,
      departed: new Map(),
      recorded: new Set([...this.rows.keys()].map((name) => `default/${name}`)),
      unchangedMs: ({ name }) => nowMs - (this.#fleet.get(name)?.sinceMs ?? nowMs),
    });
    for (const { key, guard } of found) {
      if (guard === undefined) this.#insert(key.name, { incarnation: '', owner: 'cp', state: 'swept' });
    }
  }

  #heal(name: string, nowMs: number): void {
    const row = this.rows.get(name);
    if (row === undefined || this.#controlPlane.objects.has(name)) this.#absent.delete(name);
    if (row === undefined || this.#controlPlane.objects.has(name)) return;
    const firstMs = this.#absent.get(name) ?? nowMs;
    this.#absent.set(name, firstMs);
    const resource: DataplaneResource = { type: 'Dataplane', mesh: 'default', name };
    const healing = judgeMissing({
      record: { ...row, deletable: true, phase: 'running', address: undefined },
      serving: true,
      provenAlive: true,
      absence: { looks: nowMs > firstMs ? 2 : 1, spanMs: nowMs - firstMs },
      around: this.#around(nowMs),
      lastSeen: undefined,
      brought: resource,
    });
    if (healing.verdict !== 'put') return;
    const writer = { id: row.incarnation, brings: row.owner === 'cp' };
    this.#controlPlane.put(name, writer, nowMs);
  }
}

/** @returns since when it has been the same */
function remember(looks: Map<string, Look>, look: DataplaneOverview, nowMs: number): number {
  const known = looks.get(look.name);
  if (known !== undefined && sameLook(known.look, look)) return known.sinceMs;
  looks.set(look.name, { look, sinceMs: nowMs });
  return nowMs;
}
