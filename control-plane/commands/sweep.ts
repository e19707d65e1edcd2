import { formatDuration } from '../../kernel/duration.ts';
import type { OptionValues } from '../../kernel/options.ts';
import type { SweepResponse_Candidate as Candidate } from '../../proto/gen/deregistrar/v1/admin.ts';
import { withAdminClient } from '../server/admin-client.io.ts';
import type { SWEEP_OPTIONS } from '../options.ts';
import { textTable } from './text-table.ts';

/** Dataplanes that Kuma shows offline: which are deleted, and which guard holds the others. */
export async function sweep({
  adminSocket,
  json,
  dryRun,
}: OptionValues<typeof SWEEP_OPTIONS>): Promise<string> {
  const { candidates } = await withAdminClient(adminSocket, (client) => client.sweep({ dryRun }));
  if (json) return `${JSON.stringify(candidates, undefined, 2)}\n`;
  if (candidates.length === 0) return 'No dataplane without an agent is offline.\n';
  return `${textTable(candidates.map((each) => row(each, dryRun)))}\n`;
}

function row({ dataplane, offline, guard, reason }: Candidate, dryRun: boolean): readonly string[] {
  const goes = dryRun ? 'would be deleted' : 'will be deleted';
  return [
    `${dataplane?.mesh ?? ''}/${dataplane?.name ?? ''}`,
    offline === undefined ? '' : `offline for ${formatDuration(offline.seconds * 1_000)}`,
    guard === '' ? goes : `held back by ${guard}`,
    reason,
  ];
}
