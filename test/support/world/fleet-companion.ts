import { CompanionProcess, type CompanionOptions } from '../companion-process.ts';
import type { Fleet, InstanceWrapping } from './fleet.ts';
import { TemporaryDir } from './temporary-dir.ts';

/**
 * A companion beside a fleet's control plane, on its defaults: SQLite, a grace of 15 s, on loopback without tokens. Its
 * pings are as frequent as behind a load balancer: hosts of tests freeze, and their kernel answers for them.
 */
export class FleetCompanion implements AsyncDisposable {
  readonly process: CompanionProcess;
  readonly #fleet: Fleet;
  readonly #dir: TemporaryDir;

  private constructor(fleet: Fleet, companion: CompanionProcess, dir: TemporaryDir) {
    this.#fleet = fleet;
    this.process = companion;
    this.#dir = dir;
  }

  /** Chooses ports, starts nothing. */
  static async create(fleet: Fleet, options: Partial<CompanionOptions> = {}): Promise<FleetCompanion> {
    using dirs = new DisposableStack();
    const dir = dirs.use(new TemporaryDir());
    const kumaApi = [fleet.controlPlane.httpUrl];
    const companion = await CompanionProcess.create({
      kumaApi,
      dir: dir.path,
      argv: ['--ping-interval', '4s'],
      ...options,
    });
    dirs.move();
    return new FleetCompanion(fleet, companion, dir);
  }

  /** Starts it and waits until it is ready. */
  static async start(fleet: Fleet, options: Partial<CompanionOptions> = {}): Promise<FleetCompanion> {
    await using disposables = new AsyncDisposableStack();
    const companion = disposables.use(await FleetCompanion.create(fleet, options));
    await companion.start();
    disposables.move();
    return companion;
  }

  /** @returns once it is ready */
  async start(): Promise<void> {
    await this.process.start();
    await this.process.waitUntilReady();
  }

  /** The agent's options with nothing but the companion to turn to; more may follow. */
  agent(...more: readonly string[]): InstanceWrapping {
    const { stateDir } = this.#fleet;
    return { agent: ['--endpoint', `grpc://${this.process.address}`, '--state-dir', stateDir, ...more] };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]();
    this.#dir[Symbol.dispose]();
  }
}
