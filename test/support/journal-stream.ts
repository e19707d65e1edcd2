/**
 * Wraps a program whose standard error is a socket, as that of every child of Node is: names this socket in
 * `JOURNAL_STREAM`, as systemd names the one to the journal.
 *
 * @see systemd.exec(5)
 */
export const IN_JOURNAL: readonly string[] = [
  'sh',
  '-c',
  'JOURNAL_STREAM="$(stat --dereference --format=%d:%i /proc/self/fd/2)" exec "$@"',
  'sh',
];
