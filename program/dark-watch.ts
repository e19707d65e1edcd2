import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';

import { pause, type Clock } from '../kernel/clock.ts';
import {
  isSuspicious,
  judgeOutstanding,
  NOTHING_OUTSTANDING,
  noteCounters,
  type Outstanding,
} from '../kernel/outstanding.ts';
import { readUnacknowledged, tableAddress, type TcpSocket } from '../kernel/socket-table.ts';

const POLL_MS = 2_000;
/** The share of one core that reading the kernel's table may take (3 ms for a thousand rows). */
const SHARE = 0.02;
/** At most one poll is left out: a host that falls silent is missed within 12 s, 6 of which are DARK_MS. */
const MOST_REST_MS = 1.5 * POLL_MS;

interface Watched {
  readonly onDark: () => void;
  outstanding: Outstanding;
}

/**
 * Finds connections whose other end no longer acknowledges anything. TCP keepalive finds those with no data in flight;
 * a single unacknowledged byte suspends it for as long as the kernel retransmits: 15 min.
 *
 * Every 2 s this reads two counters of each connection. It reads the kernel's table only while a connection is
 * suspicious, and half as often if the table is long.
 */
export class DarkWatch {
  readonly #clock: Clock;
  readonly #readRows: typeof readTables;
  readonly #watched = new Map<Socket, Watched>();
  #over: AbortController | undefined;
  /** When the kernel's tables may be read again, monotonic. */
  #restsUntilMs = 0;

  constructor(clock: Clock, readRows = readTables) {
    this.#clock = clock;
    this.#readRows = readRows;
  }

  /** Until the socket closes. @param onDark called once at most */
  watch(socket: Socket, onDark: () => void): void {
    this.#watched.set(socket, { onDark, outstanding: NOTHING_OUTSTANDING });
    socket.once('close', () => {
      this.#watched.delete(socket);
      if (this.#watched.size === 0) this.#over?.abort(new Error('Nothing is left to watch'));
    });
    if (this.#over === undefined || this.#over.signal.aborted) void this.#run();
  }

  async #run(): Promise<void> {
    const over = new AbortController();
    this.#over = over;
    while (!over.signal.aborted) {
      await pause(this.#clock, POLL_MS, over.signal);
      const suspicious = this.#note();
      const rests = this.#clock.monotonicMs() < this.#restsUntilMs;
      if (suspicious.length > 0 && !rests) this.#judge(suspicious, await this.#read());
    }
  }

  async #read(): Promise<ReadonlyMap<string, TcpSocket>> {
    const beganMs = this.#clock.monotonicMs();
    const rows = await this.#readRows();
    const endedMs = this.#clock.monotonicMs();
    this.#restsUntilMs = endedMs + Math.min(MOST_REST_MS, (endedMs - beganMs) / SHARE);
    return rows;
  }

  /** @returns those of which only the kernel knows */
  #note(): readonly Socket[] {
    const nowMs = this.#clock.monotonicMs();
    const suspicious: Socket[] = [];
    for (const [socket, watched] of this.#watched) {
      watched.outstanding = noteCounters(watched.outstanding, socket, nowMs);
      if (isSuspicious(watched.outstanding, nowMs)) suspicious.push(socket);
    }
    return suspicious;
  }

  #judge(suspicious: readonly Socket[], rows: ReadonlyMap<string, TcpSocket>): void {
    const nowMs = this.#clock.monotonicMs();
    for (const socket of suspicious) {
      const watched = this.#watched.get(socket);
      if (watched === undefined) continue;
      const verdict = judgeOutstanding(watched.outstanding, rows.get(nameOf(socket)), nowMs);
      if (verdict === 'acknowledged') watched.outstanding = { ...watched.outstanding, sinceMs: undefined };
      if (verdict !== 'dark') continue;
      this.#watched.delete(socket);
      watched.onDark();
    }
  }
}

/** Without this table only pings find silent peers. */
async function readTables(): Promise<ReadonlyMap<string, TcpSocket>> {
  const texts = await Promise.all(
    ['tcp', 'tcp6'].map((table) => readFile(`/proc/self/net/${table}`, 'latin1').catch(() => '')),
  );
  const rows = texts.flatMap((text) => readUnacknowledged(text));
  return new Map(rows.map((row) => [`${portOf(row.local)} ${row.remote}`, row]));
}

function nameOf({ localPort = 0, remoteAddress, remotePort = 0 }: Socket): string {
  const remote = remoteAddress === undefined ? '' : tableAddress(remoteAddress, remotePort);
  return `${portOf(tableAddress('0.0.0.0', localPort))} ${remote}`;
}

function portOf(address: string): string {
  return address.slice(address.lastIndexOf(':') + 1);
}
