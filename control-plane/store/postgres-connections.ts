import { Socket } from 'node:net';

import { Kysely, PostgresDialect } from 'kysely';
import pLimit, { type LimitFunction } from 'p-limit';
import { Pool, types, type PoolClient } from 'pg';

import { within, type Clock } from '../../kernel/clock.ts';
import { OperationalError } from '../../kernel/errors.ts';
import { ofPostgres, sessionHealth } from './postgres-errors.ts';
import { connectionString, unreadableFile } from './postgres-url.ts';
import type { Schema } from './schema.ts';

export interface PoolOptions {
  readonly clock: Clock;
  readonly url: string;
  /** Shared by all connections to one database. */
  readonly server: ServerAge;
  /** Without credentials. */
  readonly place: string;
  readonly max: number;
  readonly connectMs: number;
  readonly statementMs: number;
  readonly lockWaitMs: number;
  readonly sessionMs: number;
}

/** Increases when a session reports that its server cannot serve any more: older sessions are not used again. */
export interface ServerAge {
  current: number;
}

/** One connection, for as long as it is used. */
export interface PoolConnection {
  readonly db: Kysely<Schema>;
  /** Whether it broke: its transaction and its locks are gone, or soon will be. */
  readonly isLost: boolean;
}

interface Pinned {
  readonly db: Kysely<Schema>;
  readonly age: number;
  isLost: boolean;
}

/** The server's own limit should end a statement first: its error says more. */
const ANSWER_SLACK_MS = 500;
const IDLE_MS = 60_000;
const GOODBYE_MS = 1_000;

/** A pool of connections to one database. */
export class PostgresConnections {
  readonly #options: PoolOptions;
  readonly #pool: Pool;
  readonly #turns: LimitFunction;
  readonly #pinned = new WeakMap<PoolClient, Pinned>();
  readonly #sockets = new Set<Socket>();
  #closing: Promise<void> | undefined;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#turns = pLimit({ concurrency: options.max, rejectOnClear: true });
    this.#pool = new Pool({
      connectionString: connectionString(options.url),
      application_name: 'kuma-deregistrar',
      max: options.max,
      connectionTimeoutMillis: options.connectMs,
      idleTimeoutMillis: IDLE_MS,
      query_timeout: options.statementMs + ANSWER_SLACK_MS,
      keepAlive: true,
      // Later statements do not wait for the answer to BEGIN.
      pipeline: true,
      types: { getTypeParser: parserOf },
      stream: () => this.#socket(),
    });
    // A connection that breaks while it is idle: the pool drops it, and its next user gets another.
    this.#pool.on('error', () => {});
    // The pool stops listening to a new connection as it resolves `connect()`. An error in the same packet comes earlier.
    this.#pool.on('connect', (client) => this.#pin(client));
  }

  /** @throws `STORE_UNAVAILABLE`, `STORE_BUSY`, and what `work` throws */
  async use<T>(work: (connection: PoolConnection) => Promise<T>): Promise<T> {
    try {
      return await this.#turns(() => this.#useOne(work));
    } catch (error) {
      if (!(error instanceof DOMException) || error.name !== 'AbortError') throw error;
      throw new OperationalError('STORE_UNAVAILABLE', `Cannot use ${this.#options.place}`, { cause: error });
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#end();
    return this.#closing;
  }

  async #end(): Promise<void> {
    await within(this.#options.clock, GOODBYE_MS, this.#pool.end());
    // A database that is out of reach does not confirm the end of a connection for minutes.
    for (const socket of this.#sockets) socket.destroy();
  }

  async #useOne<T>(work: (connection: PoolConnection) => Promise<T>): Promise<T> {
    const client = await this.#connect();
    const connection = this.#pin(client);
    try {
      return await work(connection);
    } finally {
      client.release(!this.#isUsable(connection));
    }
  }

  async #connect(): Promise<PoolClient> {
    try {
      for (;;) {
        const client = await this.#pool.connect();
        if (this.#isUsable(this.#pin(client))) return client;
        client.release(true);
      }
    } catch (error) {
      // Otherwise each connection would notice the failover by itself, one after the other.
      this.#turns.clearQueue();
      throw unreadableFile(error) ?? ofPostgres(error, this.#options.place);
    }
  }

  #isUsable({ isLost, age }: Pinned): boolean {
    return !isLost && age === this.#options.server.current;
  }

  /** Kysely takes its connections from a pool. This pool has a single connection, and knows when it breaks. */
  #pin(client: PoolClient): Pinned {
    const known = this.#pinned.get(client);
    if (known !== undefined) return known;
    const connection = {
      query: (text: string, values: readonly unknown[]) => this.#query(client, text, values),
      release: () => {},
    };
    const pool = { connect: () => Promise.resolve(connection), end: () => Promise.resolve(), options: {} };
    const dialect = new PostgresDialect({ pool: pool as unknown as Pool });
    const age = this.#options.server.current;
    const pinned: Pinned = { db: new Kysely<Schema>({ dialect }), age, isLost: false };
    const lose = (): void => {
      pinned.isLost = true;
    };
    // Without a listener, a connection that breaks between two statements would end the process.
    client.on('error', lose);
    client.on('end', lose);
    this.#pinned.set(client, pinned);
    return pinned;
  }

  async #query(client: PoolClient, text: string, values: readonly unknown[]): Promise<unknown> {
    if (text !== 'begin') return this.#send(client, text, values);
    // A BEGIN that fails loses the connection. By then only the next statement has been sent, which reads the time.
    this.#send(client, this.#begin(), []).catch(() => {
      this.#pin(client).isLost = true;
    });
    return Promise.resolve({ command: 'BEGIN', rowCount: 0, rows: [] });
  }

  async #send(client: PoolClient, text: string, values: readonly unknown[]): Promise<unknown> {
    const { place } = this.#options;
    const pinned = this.#pin(client);
    try {
      if (pinned.isLost) throw new Error('the connection was lost');
      return await client.query(text, [...values]);
    } catch (error) {
      const health = sessionHealth(error);
      if (health !== 'usable' || text === 'rollback') pinned.isLost = true;
      // Other sessions may have noticed it before, and opened new connections.
      if (health === 'server spent' && pinned.age === this.#options.server.current)
        this.#options.server.current += 1;
      // Reports the reason for the rollback; nothing is committed.
      if (text === 'rollback') return { command: 'ROLLBACK', rowCount: 0, rows: [] };
      throw ofPostgres(error, place);
    }
  }

  /**
   * Sets the limits in each transaction, in one message with its BEGIN. PgBouncer refuses such limits at the start of
   * a session or drops them, and in transaction mode hands each transaction to another session. The locks need
   * statements that see what others have committed; a database or a role may have another default.
   */
  #begin(): string {
    const { statementMs, lockWaitMs, sessionMs } = this.#options;
    return [
      'begin isolation level read committed',
      `set local statement_timeout = ${statementMs}`,
      `set local lock_timeout = ${lockWaitMs}`,
      `set local idle_in_transaction_session_timeout = ${sessionMs}`,
    ].join('; ');
  }

  #socket(): Socket {
    const socket = new Socket();
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    return socket;
  }
}

/** `int8` as a number: epochs and ms since 1970 are safe integers. */
const parserOf: typeof types.getTypeParser = (...asked: Parameters<typeof types.getTypeParser>) =>
  asked[0] === types.builtins.INT8 ? Number : (types.getTypeParser(...asked) as unknown);
