import { describeKey, type DataplaneKey } from '../../kuma/dataplane.ts';
import type { RecordSummary } from '../records.pure.ts';

/** The streams that are open at this replica. */
export interface OpenHere {
  readonly replica: string;
  readonly isOpen: (record: RecordSummary) => boolean;
  /** Streams that the store may have recorded already. */
  readonly opening: Iterable<{ readonly key: DataplaneKey }>;
}

/** @returns the records that the store shows as attached here although their streams have ended */
export function straysAmong(
  records: readonly RecordSummary[],
  { replica, isOpen, opening }: OpenHere,
): readonly RecordSummary[] {
  const names = new Set([...opening].map(({ key }) => describeKey(key)));
  return records.filter(
    (record) =>
      record.replica === replica &&
      record.state === 'attached' &&
      !isOpen(record) &&
      !names.has(describeKey(record.key)),
  );
}
