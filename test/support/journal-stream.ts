/**
 * Goes in front of a program whose standard error is a socket, as every pipe of Node's children is: names that socket
 * in `JOURNAL_STREAM`, as systemd does for the one to the journal.
 *
 * @see systemd.exec(5)
 */
export const IN_JOURNAL: readonly string[] = [
  'sh',
  '-c',
  'JOURNAL_STREAM="$(stat --dereference --format=%d:%i /proc/self/fd/2)" exec "$@"',
  'sh',
];
