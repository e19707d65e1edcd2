import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';

/**
 * Names this host where its name alone does not: hosts that were made from one image may have the same. It is the name,
 * and eight digits of a hash of the machine's id, which is not to leave the machine.
 *
 * @see machine-id(5)
 */
export function thisHost(machineIdFile = '/etc/machine-id'): string {
  const id = machineId(machineIdFile);
  if (id === '') return hostname();
  return `${hostname()}#${createHash('sha256').update(`kuma-deregistrar ${id}`).digest('hex').slice(0, 8)}`;
}

function machineId(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    return '';
  }
}
