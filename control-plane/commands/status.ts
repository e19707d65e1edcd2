import { formatDuration } from '../../kernel/duration.ts';
import { takesDataplanes } from '../../kuma/control-plane.ts';
import type {
  BrakeStatus,
  ControlPlaneStatus,
  DataplaneStatus,
  Departure,
  GetStatusResponse,
  Sidelined,
  Unwatched,
} from '../../proto/gen/deregistrar/v1/admin.ts';
import type { Duration } from '../../proto/gen/google/protobuf/duration.ts';
import { fromWireDuration } from '../../proto/wire-duration.ts';
import { withAdminClient } from '../server/admin-client.io.ts';
import type { AdminOptions } from '../options.ts';
import { textTable } from './text-table.ts';

const RECENT = 10;

/** Prints the attached, leaving and held dataplanes, with the guards. */
export async function status({ adminSocket, json }: AdminOptions): Promise<string> {
  const found = await withAdminClient(adminSocket, (client) => client.getStatus({ mesh: '' }));
  return json ? `${JSON.stringify(found, undefined, 2)}\n` : describe(found);
}

function describe(found: GetStatusResponse): string {
  const { store, dataplanes } = found;
  const waiting = dataplanes.filter(({ state }) => state !== 'attached');
  const others = (store?.replicas.length ?? 1) - 1;
  const head = [
    `kuma-deregistrar ${found.version}, replica ${found.replica}${others > 0 ? ` and ${others} more` : ''}, up ${say(found.up)}`,
    `store: ${store?.kind ?? 'unknown'}${store === undefined || store.problem === '' ? '' : ` UNAVAILABLE: ${store.problem}`}`,
    ...found.controlPlanes.map(describeControlPlane),
    `dataplanes: ${dataplanes.length - waiting.length} attached, ${waiting.length} leaving or lost`,
  ];
  const parts = [
    head.join('\n'),
    section('Leaving, lost or held back', waiting.map(rowOfWaiting)),
    section('Out of rotation, no witness reaches them', found.sidelined.map(rowOfSidelined)),
    section(
      'Not watched by two witnesses: a lost host stays in rotation until its grace ends',
      found.unwatched.map(rowOfUnwatched),
    ),
    section('Brakes', found.brakes.map(rowOfBrake)),
    section('Last departures', found.departures.slice(0, RECENT).map(rowOfDeparture)),
  ];
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
}

function describeControlPlane({ url, controlPlane, problem, up }: ControlPlaneStatus): string {
  if (controlPlane === undefined) return `control plane: ${url} DOES NOT ANSWER: ${problem}`;
  const { mode, version, instanceId } = controlPlane;
  const wrong = mode === '' || takesDataplanes(mode) ? '' : ' NOT A ZONE CONTROL PLANE';
  return `control plane: ${url} ${mode} ${version} ${instanceId}, seen for ${say(up)}${wrong}`;
}

function rowOfWaiting(each: DataplaneStatus): readonly string[] {
  const next = each.nextAttempt === undefined ? '' : `again in ${say(each.nextAttempt)}`;
  return [nameOf(each), each.state, `for ${say(each.since)}`, each.guard, each.reason, next];
}

function rowOfSidelined(each: Sidelined): readonly string[] {
  return [nameOf(each), each.stage, `for ${say(each.since)}`, each.reason];
}

function rowOfUnwatched(each: Unwatched): readonly string[] {
  return [nameOf(each), each.reason];
}

function rowOfBrake(each: BrakeStatus): readonly string[] {
  const scope = each.service === '' ? `mesh ${each.mesh}` : `${each.service} in ${each.mesh}`;
  return [scope, `${each.deleted} of ${each.allowed} deleted`, `${each.heldBack} held back`, each.reason];
}

function rowOfDeparture(each: Departure): readonly string[] {
  return [
    each.at?.toISOString() ?? '',
    nameOf(each),
    each.cause,
    each.outcome,
    each.guard,
    each.reason,
    each.undoable ? 'undo possible' : '',
  ];
}

function nameOf({ dataplane }: Pick<DataplaneStatus, 'dataplane'>): string {
  return `${dataplane?.mesh ?? ''}/${dataplane?.name ?? ''}`;
}

function section(title: string, rows: readonly (readonly string[])[]): string {
  return rows.length === 0 ? '' : `${title}:\n${textTable(rows)}`;
}

function say(duration: Duration | undefined): string {
  if (duration === undefined) return 'unknown';
  const ms = fromWireDuration(duration);
  return formatDuration(ms < 10_000 ? Math.round(ms) : Math.round(ms / 1_000) * 1_000);
}
