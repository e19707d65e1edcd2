/** Vitest on an older Node reports nothing useful; say so before the first test instead. */
export function setup(): void {
  const major = Number(process.versions.node.split('.')[0]);
  if (major < 24)
    throw new Error(`Tests need Node 24 or newer, run them through npm: found ${process.version}`);
}
