import { systemClock } from '../../kernel/clock.ts';
import { describeError } from '../../kernel/errors.ts';
import type { Finding } from '../../kernel/findings.ts';
import { decodeToken } from '../../kuma/decoded-token.ts';
import { dataplaneToken } from '../identity/dataplane-token.io.ts';
import { judgeToken } from './host-findings.pure.ts';
import { tokenOf } from '../run/connection.ts';
import type { DerivedDataplane } from '../identity/derive.io.ts';
import { mayBeMe } from './doctor-look.ts';

/**
 * Decodes the token: shows its claims, never the token.
 *
 * @param version of the control plane: what a token is compared with differs by line
 */
export async function examineToken(
  { command, identity }: DerivedDataplane,
  version: string | undefined,
): Promise<Finding> {
  const about = 'dataplane token';
  const source = tokenOf(command);
  if (source.file === undefined && source.inline === undefined) {
    const says =
      command.authType === ''
        ? 'none: the control plane requires none, or rejects kuma-dp'
        : `none: kuma-dp shows the control plane another identity (--auth-type=${command.authType})`;
    return { level: 'ok', about, says };
  }
  const token = dataplaneToken(source);
  try {
    await token.refresh();
  } catch (error) {
    const remedy = 'check --dataplane-token-file of kuma-dp, and who may read it';
    return { level: mayBeMe(error), about, says: describeError(error), remedy };
  }
  const decoded = decodeToken(token.current ?? '');
  if ('problem' in decoded) {
    const remedy = 'kumactl generate dataplane-token';
    return { level: 'failure', about, says: decoded.problem, remedy };
  }
  return judgeToken(decoded.value, { ...identity, version }, systemClock.wallMs());
}
