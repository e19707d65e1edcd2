import { execFile } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { freePort } from '../world/free-port.ts';
import { waitUntil } from '../world/wait-until.ts';
import { type Database } from './postgres-server.ts';
import { LoggedProcess } from './logged-process.ts';

export interface RealControlPlaneOptions {
  /** The binary. */
  readonly command: string;
  /** An empty folder: certificates and logs. */
  readonly dir: string;
  /** `undefined`: Kuma's memory store, which does not outlive the process. */
  readonly database: Database | undefined;
  /** Settings of `kuma-cp`, as environment variables. */
  readonly env: Readonly<Record<string, string>>;
}

const PORTS = ['http', 'https', 'dataplane', 'monitoring', 'diagnostics', 'interCp'] as const;
type Ports = Readonly<Record<(typeof PORTS)[number], number>>;

/** A `kuma-cp run` of one zone on loopback: ports and objects outlive its process. */
export class RealControlPlane implements AsyncDisposable {
  readonly ports: Ports;
  readonly #command: string;
  readonly #dir: string;
  readonly #env: Record<string, string>;
  #process: LoggedProcess | undefined;

  private constructor(options: RealControlPlaneOptions, ports: Ports) {
    const { command, dir, env, database } = options;
    this.ports = ports;
    this.#command = command;
    this.#dir = dir;
    this.#env = { ...zoneSettings(dir, ports), ...storeSettings(database), ...env };
  }

  static async create(options: RealControlPlaneOptions): Promise<RealControlPlane> {
    const ports: Record<string, number> = {};
    for (const name of PORTS) ports[name] = await freePort();
    mkdirSync(options.dir, { recursive: true });
    const controlPlane = new RealControlPlane(options, ports as unknown as Ports);
    if (options.database !== undefined) {
      await promisify(execFile)(options.command, ['migrate', 'up'], {
        env: controlPlane.#environment(),
        cwd: options.dir,
      });
    }
    return controlPlane;
  }

  get restUrl(): string {
    return `http://127.0.0.1:${this.ports.http}`;
  }

  /** Made by kuma-cp at its first start. */
  get caFile(): string {
    return join(this.#dir, 'kuma-cp.crt');
  }

  /** For another control plane that shows the same certificate. */
  get sharedCertificate(): Readonly<Record<string, string>> {
    return {
      KUMA_GENERAL_TLS_CERT_FILE: this.caFile,
      KUMA_GENERAL_TLS_KEY_FILE: this.caFile.replace(/\.crt$/, '.key'),
    };
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#process?.signal(signal);
  }

  /** Changes a setting for the next start. */
  set(settings: Readonly<Record<string, string>>): void {
    Object.assign(this.#env, settings);
  }

  async start(): Promise<void> {
    const started = new LoggedProcess({
      command: this.#command,
      argv: ['run', '--log-level', 'info'],
      env: this.#environment(),
      cwd: this.#dir,
      logFile: join(this.#dir, 'kuma-cp.log'),
    });
    this.#process = started;
    await waitUntil(
      async () => {
        if (!started.running) throw new Error(`kuma-cp ended: ${started.lastOutput}`);
        const [api, ready] = await Promise.all([
          fetch(`${this.restUrl}/`),
          fetch(`http://127.0.0.1:${this.ports.diagnostics}/ready`),
        ]);
        return api.ok && ready.ok && (this.#sharesCertificate || existsSync(this.caFile));
      },
      { what: 'kuma-cp to be ready', budgetMs: 60_000, pollMs: 50 },
    );
  }

  get #sharesCertificate(): boolean {
    return this.#env['KUMA_GENERAL_TLS_CERT_FILE'] !== undefined;
  }

  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    await this.#process?.end(signal);
    this.#process = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end('SIGKILL');
  }

  /** kuma-cp must not inherit variables of ours. */
  #environment(): Record<string, string> {
    return { PATH: process.env['PATH'] ?? '', HOME: this.#dir, ...this.#env };
  }
}

function zoneSettings(dir: string, ports: Ports): Record<string, string> {
  return {
    KUMA_ENVIRONMENT: 'universal',
    KUMA_MODE: 'zone',
    KUMA_MULTIZONE_ZONE_NAME: 'z1',
    KUMA_GENERAL_WORK_DIR: dir,
    KUMA_API_SERVER_HTTP_INTERFACE: '127.0.0.1',
    KUMA_API_SERVER_HTTPS_INTERFACE: '127.0.0.1',
    KUMA_API_SERVER_HTTP_PORT: String(ports.http),
    KUMA_API_SERVER_HTTPS_PORT: String(ports.https),
    KUMA_DP_SERVER_PORT: String(ports.dataplane),
    KUMA_DP_SERVER_AUTHN_DP_PROXY_TYPE: 'dpToken',
    KUMA_MONITORING_ASSIGNMENT_SERVER_PORT: String(ports.monitoring),
    KUMA_DIAGNOSTICS_SERVER_PORT: String(ports.diagnostics),
    KUMA_INTER_CP_SERVER_PORT: String(ports.interCp),
    KUMA_INTER_CP_CATALOG_INSTANCE_ADDRESS: '127.0.0.1',
    KUMA_REPORTS_ENABLED: 'false',
    // The mesh is made without default policies, of which MeshRetry would hide failures.
    KUMA_DEFAULTS_SKIP_MESH_CREATION: 'true',
  };
}

function storeSettings(database: Database | undefined): Record<string, string> {
  if (database === undefined) return { KUMA_STORE_TYPE: 'memory' };
  return {
    KUMA_STORE_TYPE: 'postgres',
    KUMA_STORE_POSTGRES_HOST: database.host,
    KUMA_STORE_POSTGRES_PORT: String(database.port),
    KUMA_STORE_POSTGRES_USER: database.user,
    KUMA_STORE_POSTGRES_PASSWORD: database.password,
    KUMA_STORE_POSTGRES_DB_NAME: database.name,
  };
}
