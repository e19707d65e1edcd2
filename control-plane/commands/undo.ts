import { OperationalError } from '../../kernel/errors.ts';
import { withAdminClient } from '../server/admin-client.io.ts';
import type { AdminOptions } from '../options.ts';

/** Puts a name back into rotation, or its last deleted object back. @throws `CONFIG_INVALID` unless the operand is MESH/NAME */
export async function undo({ adminSocket, json }: AdminOptions, operand = ''): Promise<string> {
  const [mesh = '', name = '', ...rest] = operand.split('/');
  if (mesh === '' || name === '' || rest.length > 0) {
    throw new OperationalError('CONFIG_INVALID', 'Name the dataplane: kuma-deregistrar undo MESH/NAME');
  }
  const { deletedAt } = await withAdminClient(adminSocket, (client) =>
    client.undo({ dataplane: { mesh, name } }),
  );
  if (json) return `${JSON.stringify({ mesh, name, deletedAt })}\n`;
  if (deletedAt === undefined) return `${mesh}/${name} goes back into rotation.\n`;
  return `${mesh}/${name} is back, as it was when it was deleted at ${deletedAt.toISOString()}.\n`;
}
