export interface Processor {
  /** As Node and npm call it. */
  readonly cpu: string;
  /** As Debian and OCI do. */
  readonly debian: string;
  readonly rpm: string;
  /** Prefix of its GNU tools. */
  readonly gnu: string;
}

const PROCESSORS: readonly Processor[] = [
  { cpu: 'x64', debian: 'amd64', rpm: 'x86_64', gnu: 'x86_64-linux-gnu' },
  { cpu: 'arm64', debian: 'arm64', rpm: 'aarch64', gnu: 'aarch64-linux-gnu' },
];

/** @throws Error with one line for a user */
export function processorOf(cpu: string): Processor {
  const found = PROCESSORS.find((processor) => processor.cpu === cpu);
  if (found === undefined)
    throw new Error(`--cpu must be one of ${PROCESSORS.map((each) => each.cpu).join(', ')}, not "${cpu}"`);
  return found;
}
