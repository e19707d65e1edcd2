import type { DataplaneKey } from '../../kuma/dataplane.ts';
import type { Alone, AttemptedDeletion, EntryView, Store } from '../ports.ts';
import type { SideliningRecord } from '../records.pure.ts';
import { attach, leave, reattach } from './attaching.ts';
import type { Backend } from './backend.ts';
import { beginSweep, hasten, prune, recordResult, type Wanted } from './deletions.ts';
import * as queries from './queries.ts';
import { recordOf } from './rows.ts';
import * as sidelinings from './sidelinings.ts';
import * as streams from './streams.ts';
import * as zones from './zones.ts';

/** Longer than a sidelining counts against others, and longer than an acquaintance is valid. */
const SIDELININGS_KEPT_MS = 1_200_000;
/** For a caller without a grace of its own. */
const ANY_ENTRY: EntryView = { graceMs: 0 };

/** The store, as far as it is the same for both databases. */
export function kyselyStore(backend: Backend): Store {
  return {
    kind: backend.kind,
    nowMs: () => backend.run(({ nowMs }) => Promise.resolve(nowMs)),
    heartbeat: (replica, withinMs) =>
      backend.beat((session) => streams.heartbeat(session, replica, withinMs)),
    noteSilence: (silence) => backend.beat((session) => streams.noteSilence(session, silence)),
    unseenIncarnations: () => backend.read(streams.unseenIncarnations),
    attach: (introduction, replica, entry = ANY_ENTRY) =>
      backend.runAlone(introduction.key, (session) => attach(session, introduction, { replica, entry })),
    reattach: (introduction, replica, entry = ANY_ENTRY) =>
      backend.runAlone(introduction.key, (session) => reattach(session, introduction, { replica, entry })),
    detach: (at, replica, returnMs) =>
      backend.run((session) => streams.detach(session, at, { replica, returnMs })),
    notePhase: (at, said) => backend.run((session) => streams.notePhase(session, at, said)),
    leave: (introduction, options) =>
      backend.leaveAlone(introduction.key, (session) => leave(session, introduction, options)),
    beginSweep: (key) => backend.runAlone(key, (session) => beginSweep(session, key)),
    attempt: (which, act) => attempt(backend, which, act),
    async whileCurrent(at, act) {
      const held = await backend.lockRow(
        { ...at, kind: 'current' },
        { act: (row, fence) => act(recordOf(row), fence) },
        true,
      );
      return held?.value;
    },
    find: (key) => backend.read((session) => queries.find(session, key)),
    records: () => backend.read(queries.records),
    counts: () => backend.read(queries.counts),
    departures: (filter) => backend.read((session) => queries.departures(session, filter)),
    lastDeletedBody: (key) => backend.read((session) => queries.lastDeletedBody(session, key)),
    deletedBodies: (sinceMs, causes) =>
      backend.read((session) => queries.deletedBodies(session, sinceMs, causes)),
    releaseBrake: (mesh, untilMs) => backend.run((session) => queries.releaseBrake(session, mesh, untilMs)),
    brakeReleases: () => backend.run(queries.brakeReleases),
    bindZone: (zone) => backend.run((session) => zones.bindZone(session, zone)),
    instances: () => backend.read(zones.instances),
    noteInstances: (instances, beforeMs) =>
      backend.run((session) => zones.noteInstances(session, instances, beforeMs)),
    reserveSidelinings: (choose) => backend.run((session) => sidelinings.reserve(session, choose)),
    whileAlone: (key, act) => whileAlone(backend, key, act),
    sidelining: (key) => backend.read((session) => sidelinings.find(session, key)),
    sidelinings: () => backend.read(sidelinings.active),
    dueSidelinings: (limit) => backend.run((session) => sidelinings.due(session, limit)),
    noteAcquaintances: (reached) => backend.run((session) => sidelinings.noteAcquaintances(session, reached)),
    acquaintances: (places, sinceMs) =>
      backend.read((session) => sidelinings.acquaintances(session, places, sinceMs)),
    streamCounts: (sinceMs) => backend.read((session) => sidelinings.streamCounts(session, sinceMs)),
    lostSince: (sinceMs) => backend.read((session) => sidelinings.lostSince(session, sinceMs)),
    prune: (beforeMs) =>
      backend.run(async (session) => {
        await prune(session, beforeMs);
        await sidelinings.prune(session, SIDELININGS_KEPT_MS);
      }),
    hasten: () => backend.run(hasten),
    close: () => backend.close(),
  };
}

async function attempt(
  backend: Backend,
  which: Parameters<Store['attempt']>[0],
  act: Parameters<Store['attempt']>[1],
): Promise<AttemptedDeletion | undefined> {
  const wanted = wantedOf(which);
  const held = await backend.lockRow(
    wanted,
    { act: (row, fence) => act(recordOf(row), fence), record: recordResult },
    false,
  );
  return held === undefined ? undefined : { record: recordOf(held.row), result: held.value };
}

async function whileAlone<T>(
  backend: Backend,
  key: DataplaneKey,
  act: (alone: Alone) => Promise<{ readonly value: T; readonly sidelining?: SideliningRecord }>,
): Promise<T> {
  const keep = (sidelining: SideliningRecord): Promise<void> =>
    // In a transaction of its own: it must stay even if this one is rolled back.
    backend.run((session) => sidelinings.keep(session, sidelining));
  const held = await backend.lockName(key, {
    act: ({ row, sidelining, fence }) =>
      act({ record: row === undefined ? undefined : recordOf(row), sidelining, fence, keep }),
    record: async (session, { sidelining }) => {
      if (sidelining !== undefined) await sidelinings.keep(session, sidelining);
    },
  });
  return held.value;
}

function wantedOf(which: Parameters<Store['attempt']>[0]): Wanted {
  if (which === 'next due') return { kind: 'due' };
  return 'share' in which ? { kind: 'due', mine: which } : { ...which, kind: 'waiting' };
}
