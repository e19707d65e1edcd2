import { readdirSync } from 'node:fs';

import { commandLineOf, isKumaDp, parentOf } from '../child/process-tree.io.ts';
import { serviceOf } from '../systemd/process-facts.io.ts';
import { isAgentCommand } from './unit-findings.pure.ts';

/** A kuma-dp on this host without an agent above it: its stops are Kuma's own. */
export function describeLoneKumaDp(): string | undefined {
  const [pid, ...more] = loneKumaDps();
  if (pid === undefined) return undefined;
  const service = serviceOf(pid);
  const where = service === undefined ? '' : ` in ${service}`;
  const others = more.length === 0 ? '' : ` (and ${more.length} more)`;
  return `kuma-dp, pid ${pid}${where}${others}, runs without an agent: its stop does not deregister its dataplane`;
}

function loneKumaDps(): readonly number[] {
  return processes().filter((pid) => {
    const argv = commandLineOf(pid);
    return isKumaDp(argv) && argv.includes('run') && !ancestorsOf(pid).some(isAgent);
  });
}

function processes(): readonly number[] {
  try {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number);
  } catch {
    return [];
  }
}

function isAgent(pid: number): boolean {
  return isAgentCommand(commandLineOf(pid));
}

function ancestorsOf(pid: number): readonly number[] {
  const parent = parentOf(pid);
  return parent === undefined || parent === 0 ? [] : [parent, ...ancestorsOf(parent)];
}
