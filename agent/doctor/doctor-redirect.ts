import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import type { Finding } from '../../kernel/findings.ts';
import {
  describeRedirected,
  isExempt,
  portsOf,
  readExemptions,
  remedyOfRedirected,
} from '../identity/transparent-proxy.pure.ts';
import { kumaDpAmong, uidOf } from '../child/process-tree.io.ts';

const run = promisify(execFile);
const PATIENCE_MS = 3_000;

/** Whether the kernel sends the agent's own connections into Envoy. Only where transparent proxying is used. */
export async function examineRedirect(
  agentPid: number | undefined,
  urls: readonly URL[],
): Promise<readonly Finding[]> {
  const kumaDp = agentPid === undefined ? undefined : kumaDpAmong(agentPid);
  const [agentUid, kumaDpUid] = [uidOf(agentPid), uidOf(kumaDp)];
  const ports = portsOf(urls);
  if (agentUid === undefined || kumaDpUid === undefined || ports.length === 0) return [];
  const about = 'transparent proxy';
  if (agentUid === kumaDpUid)
    return [{ level: 'ok', about, says: `agent and kuma-dp both run as uid ${agentUid}, which it exempts` }];
  const rules = await Promise.all(['iptables-save', 'ip6tables-save'].map(readRules));
  const found = rules.map(readExemptions).filter((exemptions) => exemptions !== undefined);
  const redirected = ports.filter((port) => found.some((each) => !isExempt(each, { uid: agentUid, port })));
  if (found.length > 0 && redirected.length === 0)
    return [{ level: 'ok', about, says: `its rules exempt the agent's connections to ${ports.join(', ')}` }];
  const users = { agentUid, kumaDpUid };
  return [
    {
      level: found.length > 0 ? 'failure' : 'warning',
      about,
      says: describeRedirected(users),
      remedy: remedyOfRedirected(users, found.length > 0 ? redirected : ports),
    },
  ];
}

/** Empty where this user may not read them, or there are none. */
async function readRules(program: string): Promise<string> {
  try {
    const options = { timeout: PATIENCE_MS, env: { PATH: '/usr/sbin:/sbin:/usr/bin:/bin' } };
    return (await run(program, ['-t', 'nat'], options)).stdout;
  } catch {
    return '';
  }
}
