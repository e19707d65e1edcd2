import { describeKey, type DataplaneKey } from '../../kuma/dataplane.ts';
import type { RecordSummary } from '../records.pure.ts';

/** What is open at this replica. */
export interface OpenHere {
  readonly replica: string;
  readonly isOpen: (record: RecordSummary) => boolean;
  /** The store may have these already. */
  readonly opening: Iterable<{ readonly key: DataplaneKey }>;
}

/** @returns the records that the store has as attached here although they are not */
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
