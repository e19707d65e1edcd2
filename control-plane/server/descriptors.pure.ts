/**
 * Reserved for everything but agents: the store, requests to control planes, HTTP, files. Without them, the companion
 * could neither look nor delete, and would close connections that it has just accepted.
 */
const RESERVED = 512;

/**
 * How many connections of agents may be open at once.
 *
 * @param wanted without a limit of descriptors
 * @param descriptors as many as this process may have; `undefined` if that is not known
 */
export function connectionsWithin(wanted: number, descriptors: number | undefined): number {
  if (descriptors === undefined) return wanted;
  return Math.min(wanted, descriptors - Math.min(RESERVED, Math.ceil(descriptors / 2)));
}

/** The remedy for a full replica; empty if its own limit is reached, not that of its descriptors. */
export function adviceOnDescriptors(wanted: number, descriptors: number | undefined): string {
  if (descriptors === undefined || connectionsWithin(wanted, descriptors) === wanted) return '';
  return `: this process may open ${descriptors} files. Set LimitNOFILE=${wanted + RESERVED} for ${wanted} agents`;
}

/** @param limits text of /proc/self/limits */
export function readDescriptorLimit(limits: string): number | undefined {
  const soft = /^Max open files\s+(\d+)\s/m.exec(limits)?.[1];
  return soft === undefined ? undefined : Number(soft);
}
