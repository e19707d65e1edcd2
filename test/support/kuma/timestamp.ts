/** Fractional digits that Kuma's times have: PostgreSQL keeps 6, protobuf timestamps 9. */
type Digits = 6 | 9;

/** The wall clock as Go writes it: RFC 3339 in UTC, trailing zeros of the fraction left out. */
export function timestampNow(digits: Digits): string {
  const sinceEpochMs = performance.timeOrigin + performance.now();
  const wholeMs = Math.floor(sinceEpochMs);
  const fractionNs = Math.floor((sinceEpochMs - wholeMs) * 1e6);
  const [date = '', milliseconds = '000'] = new Date(wholeMs).toISOString().replace('Z', '').split('.');
  const fraction = `${milliseconds}${String(fractionNs).padStart(6, '0')}`
    .slice(0, digits)
    .replace(/0+$/, '');
  return fraction === '' ? `${date}Z` : `${date}.${fraction}Z`;
}
