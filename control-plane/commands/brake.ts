import { formatDuration } from '../../kernel/duration.ts';
import { OperationalError } from '../../kernel/errors.ts';
import type { OptionValues } from '../../kernel/options.ts';
import { toWireDuration } from '../../proto/wire-duration.ts';
import { withAdminClient } from '../server/admin-client.io.ts';
import type { BRAKE_OPTIONS } from '../options.ts';
import { textTable } from './text-table.ts';

/** Shows the brakes that hold something back, or with `release` lets it through for a while. */
export async function brake(options: OptionValues<typeof BRAKE_OPTIONS>, verb = 'show'): Promise<string> {
  if (verb !== 'show' && verb !== 'release') {
    throw new OperationalError('CONFIG_INVALID', 'Name an action: kuma-deregistrar brake [show|release]');
  }
  return verb === 'release' ? release(options) : show(options);
}

async function release({ adminSocket, mesh, forMs }: OptionValues<typeof BRAKE_OPTIONS>): Promise<string> {
  const duration = toWireDuration(forMs);
  await withAdminClient(adminSocket, (client) => client.releaseBrake({ mesh: mesh ?? '', duration }));
  const scope = mesh === undefined ? 'of every mesh' : `of mesh ${mesh}`;
  return `The brake ${scope} is released for ${formatDuration(forMs)}.\n`;
}

async function show({ adminSocket, json }: OptionValues<typeof BRAKE_OPTIONS>): Promise<string> {
  const { brakes } = await withAdminClient(adminSocket, (client) => client.getStatus({ mesh: '' }));
  if (json) return `${JSON.stringify(brakes, undefined, 2)}\n`;
  if (brakes.length === 0) return 'No brake holds anything back.\n';
  const rows = brakes.map(({ mesh, service, heldBack, reason }) => [
    service === '' ? `mesh ${mesh}` : `service ${service} in ${mesh}`,
    `${heldBack} held back`,
    reason,
  ]);
  return `${textTable(rows)}\n`;
}
