import { describeKey, type DataplaneKey } from '../kuma/dataplane.ts';

/** The dataplane of a log line. */
export interface Known {
  readonly key: DataplaneKey;
  readonly epoch?: number | undefined;
  readonly incarnation?: string | undefined;
}

export function named({ key, epoch, incarnation }: Known) {
  return { dataplane: describeKey(key), epoch, incarnation };
}
