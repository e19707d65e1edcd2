import { OperationalError } from '../../kernel/errors.ts';
import type { OptionValues } from '../../kernel/options.ts';
import { describeKey, type DataplaneKey } from '../../kuma/dataplane.ts';
import { withAdminClient } from '../server/admin-client.io.ts';
import type { UNDO_OPTIONS } from '../undo-options.ts';

type UndoOptions = OptionValues<typeof UNDO_OPTIONS>;

/**
 * Puts a name back into rotation, or its last deleted object back; with `--all` everything that is out of rotation.
 *
 * @throws `CONFIG_INVALID` unless the operand is MESH/NAME; `ENDPOINT_REJECTED` if not all are back
 */
export async function undo(options: UndoOptions, operand = ''): Promise<string> {
  return options.all ? undoAll(options, operand) : undoOne(options, operand);
}

async function undoOne({ adminSocket, json }: UndoOptions, operand: string): Promise<string> {
  const [mesh = '', name = '', ...rest] = operand.split('/');
  if (mesh === '' || name === '' || rest.length > 0) {
    throw new OperationalError('CONFIG_INVALID', 'Name the dataplane: kuma-deregistrar undo MESH/NAME');
  }
  const { deletedAt } = await withAdminClient(adminSocket, (client) =>
    client.undo({ dataplane: { mesh, name }, allSidelined: false }),
  );
  if (json) return `${JSON.stringify({ mesh, name, deletedAt })}\n`;
  if (deletedAt === undefined) return `${mesh}/${name} goes back into rotation.\n`;
  return `${mesh}/${name} is back, as it was when it was deleted at ${deletedAt.toISOString()}.\n`;
}

async function undoAll({ adminSocket, json }: UndoOptions, operand: string): Promise<string> {
  if (operand !== '')
    throw new OperationalError('CONFIG_INVALID', `Give either --all or ${operand}, not both`);
  const { restored, unrestored } = await withAdminClient(adminSocket, (client) =>
    client.undo({ dataplane: undefined, allSidelined: true }),
  );
  if (unrestored.length > 0)
    throw new OperationalError(
      'ENDPOINT_REJECTED',
      `Cannot put ${namesOf(unrestored)} back: the control plane does not accept it. Look at the companion's log and try again`,
    );
  if (json) return `${JSON.stringify({ restored })}\n`;
  if (restored.length === 0) return 'Nothing is out of rotation.\n';
  return `${namesOf(restored)}: back in rotation.\n`;
}

function namesOf(keys: readonly Pick<DataplaneKey, 'mesh' | 'name'>[]): string {
  return keys.map(({ mesh, name }) => describeKey({ proxyType: 'dataplane', mesh, name })).join(', ');
}
