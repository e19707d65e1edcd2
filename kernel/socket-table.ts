/** A row of /proc/net/tcp or tcp6. Addresses are as the kernel writes them, of IPv4 in either table alike. */
export interface TcpSocket {
  /** `ADDRESS:PORT` in hexadecimal. */
  readonly local: string;
  readonly remote: string;
  readonly isEstablished: boolean;
  /** Bytes that were written and that the other end has not acknowledged. */
  readonly unacknowledged: number;
  /** Which timer runs, and when it fires, ms. */
  readonly timer: 'none' | 'retransmission' | 'keepalive' | 'other';
  readonly timerMs: number;
  /** Retransmissions in a row that had no answer. */
  readonly retransmissions: number;
  /** Keepalive probes in a row that had no answer. They stay counted while the retransmission timer runs. */
  readonly probes: number;
  readonly inode: string;
}

/** How /proc/net/tcp6 writes an IPv4 address. */
const MAPPED = '0000000000000000FFFF0000';
const ESTABLISHED = '01';
/** The kernel shows times in units of USER_HZ, which is 100 on every architecture that Node runs on. */
const TICK_MS = 10;
const TIMERS: Readonly<Record<string, TcpSocket['timer']>> = {
  '00': 'none',
  '01': 'retransmission',
  '02': 'keepalive',
};

/**
 * @param tables text of /proc/net/tcp, of /proc/net/tcp6, or of both
 * @see https://docs.kernel.org/networking/proc_net_tcp.html
 */
export function readSocketTable(tables: string): readonly TcpSocket[] {
  return tables.split('\n').flatMap((line) => readRow(line) ?? []);
}

/** The rows that have unacknowledged bytes. Of a table of ten thousand rows, few have them. */
export function readUnacknowledged(tables: string): readonly TcpSocket[] {
  const rows: TcpSocket[] = [];
  for (let start = 0, end = 0; start < tables.length; start = end + 1) {
    end = tables.indexOf('\n', start);
    if (end === -1) end = tables.length;
    if (hasUnacknowledged(tables, start)) noteRow(rows, tables.slice(start, end));
  }
  return rows;
}

function noteRow(rows: TcpSocket[], line: string): void {
  const row = readRow(line);
  if (row !== undefined && row.unacknowledged > 0) rows.push(row);
}

/** Finds the columns by their fixed width, without splitting the row: `  12: LOCAL REMOTE ST TXQUEUE:…`. */
function hasUnacknowledged(tables: string, start: number): boolean {
  const local = tables.indexOf(':', start) + 2;
  const width = tables.indexOf(' ', local) - local;
  return !tables.startsWith('00000000:', local + 2 * (width + 1) + 3);
}

function readRow(line: string): TcpSocket | undefined {
  const [, local, remote, state, queues = '', timer = '', retransmissions = '', , probes, inode] = line
    .trim()
    .split(/\s+/);
  if (local === undefined || remote === undefined || inode === undefined || !local.includes(':'))
    return undefined;
  const [kind = '', ticks = ''] = timer.split(':');
  return {
    local: unmapped(local),
    remote: unmapped(remote),
    isEstablished: state === ESTABLISHED,
    unacknowledged: hexadecimal(queues.split(':', 1).join('')),
    timer: TIMERS[kind] ?? 'other',
    timerMs: hexadecimal(ticks) * TICK_MS,
    retransmissions: hexadecimal(retransmissions),
    probes: decimal(probes),
    inode,
  };
}

/**
 * An end of a connection as {@link TcpSocket} has it.
 *
 * @param address an IP address; the order of the bytes is that of little-endian hosts, x86-64 and arm64
 */
export function tableAddress(address: string, port: number): string {
  const words = address.includes(':') ? ipv6Words(address) : [ipv4Word(address)];
  return unmapped(`${words.join('')}:${port.toString(16).toUpperCase().padStart(4, '0')}`);
}

function ipv4Word(address: string): string {
  return littleEndian(address.split('.').map((byte) => Number(byte).toString(16).padStart(2, '0')));
}

function ipv6Words(address: string): readonly string[] {
  const plain = address.replace(/%.*$/, '');
  const { hostname } = new URL(`http://[${plain}]/`);
  const [head = '', tail] = hostname.slice(1, -1).split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => '0');
  const digits = [...left, ...zeros, ...right].map((group) => group.padStart(4, '0')).join('');
  return (digits.match(/.{8}/g) ?? []).map((word) => littleEndian(word.match(/../g) ?? []));
}

function littleEndian(bytes: readonly string[]): string {
  return bytes.toReversed().join('').toUpperCase();
}

function unmapped(address: string): string {
  return address.startsWith(MAPPED) ? address.slice(MAPPED.length) : address;
}

function decimal(text = ''): number {
  return Number.parseInt(text, 10) || 0;
}

function hexadecimal(text: string): number {
  return Number.parseInt(text, 16) || 0;
}
