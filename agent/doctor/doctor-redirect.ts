import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import type { Finding } from '../../kernel/findings.ts';
import {
  describeRedirected,
  isExempt,
  portsOf,
  readExemptions,
  remedyOfRedirected,
  usesTransparentProxy,
  type Redirected,
} from '../identity/transparent-proxy.pure.ts';
import type { DerivedDataplane } from '../identity/derive.io.ts';
import type { HostState } from '../state/host-state.pure.ts';
import type { Subject } from './doctor-subject.ts';
import { kumaDpAmong, uidOf } from '../child/process-tree.io.ts';

type RedirectPatient = Readonly<{
  subject: Pick<Subject, 'argv'>;
  derived: DerivedDataplane;
  urls: readonly URL[];
  state: HostState | undefined;
}>;

const run = promisify(execFile);
const PATIENCE_MS = 3_000;

/** Whether the kernel sends the agent's own connections into Envoy. Only where transparent proxying is used. */
export async function examineRedirect(
  { subject, derived, urls, state }: RedirectPatient,
  unitPid: number | undefined,
): Promise<readonly Finding[]> {
  const agentPid = state?.agent.pid ?? unitPid;
  const ports = portsOf(urls);
  const isUsed = usesTransparentProxy(derived.identity.resource, subject.argv);
  if (!isUsed || agentPid === undefined || ports.length === 0) return [];
  const [agentUid, kumaDpUid] = [uidOf(agentPid), uidOf(kumaDpAmong(agentPid))];
  if (agentUid === undefined || kumaDpUid === undefined) return [];
  if (agentUid !== kumaDpUid) return [await judgeRules({ agentUid, kumaDpUid }, ports)];
  return [
    { level: 'ok', about: ABOUT, says: `agent and kuma-dp both run as uid ${agentUid}, which it exempts` },
  ];
}

const ABOUT = 'transparent proxy';

async function judgeRules(users: Redirected, ports: readonly number[]): Promise<Finding> {
  const rules = await Promise.all(['iptables-save', 'ip6tables-save'].map(readRules));
  const found = rules.map(readExemptions).filter((exemptions) => exemptions !== undefined);
  const redirected = ports.filter((port) =>
    found.some((each) => !isExempt(each, { uid: users.agentUid, port })),
  );
  if (found.length > 0 && redirected.length === 0) {
    const says = `its rules exempt the agent's connections to ${ports.join(', ')}`;
    return { level: 'ok', about: ABOUT, says };
  }
  return {
    level: found.length > 0 ? 'failure' : 'warning',
    about: ABOUT,
    says: describeRedirected(users),
    remedy: remedyOfRedirected(users, found.length > 0 ? redirected : ports),
  };
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
