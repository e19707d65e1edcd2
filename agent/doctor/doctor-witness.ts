import { systemClock } from '../../kernel/clock.ts';
import type { Finding } from '../../kernel/findings.ts';
import type { DataplaneResource } from '../../kuma/dataplane.ts';
import { contact, type ContactDeps } from '../../kernel/tcp-contact.ts';
import { isAccepted, type Target } from '../../kernel/tcp-findings.ts';
import { tcpConnect } from '../../program/tcp-connect.ts';

/** Reserved for documentation: nothing listens there, so what answers is a redirect. @see RFC 5737 */
const NOWHERE: Target = { address: '192.0.2.1', port: 9 };

/**
 * Whether connections of this user are redirected into Envoy, which accepts each of them. Then an agent of this user
 * cannot say whether another dataplane can be reached. Checked only if a transparent proxy is configured.
 */
export async function examineWitness(
  resource: DataplaneResource | undefined,
  { clock, connect }: ContactDeps = {
    clock: systemClock,
    connect: tcpConnect,
  },
): Promise<readonly Finding[]> {
  if (resource?.networking?.transparentProxying === undefined) return [];
  const found = await contact({ clock, connect }, NOWHERE, new AbortController().signal);
  if (!isAccepted(found)) return [];
  return [
    {
      level: 'warning',
      about: 'witness',
      says: 'the transparent proxy redirects the connections of this user: the agent cannot say whether other dataplanes can be reached, and answers "unable"',
      remedy:
        'run the agent as the user that the transparent proxy excludes (kuma-dp’s own), or set --witness off',
    },
  ];
}
