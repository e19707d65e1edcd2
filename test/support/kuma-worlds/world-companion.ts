import { CompanionProcess, type CompanionOptions } from '../companion-process.ts';
import type { InstanceWrapping } from '../world/fleet.ts';
import { TemporaryDir } from '../world/temporary-dir.ts';
import type { KumaWorld } from './kuma-world.ts';
import type { WorldFleet } from './world-fleet.ts';

/**
 * A companion beside a world's control plane, as an operator would run it there: it checks dataplane tokens by the control
 * plane's own secrets over loopback, and shows the certificate that agents trust already.
 */
export class WorldCompanion implements AsyncDisposable {
  readonly process: CompanionProcess;
  readonly #dir: TemporaryDir;

  private constructor(companion: CompanionProcess, dir: TemporaryDir) {
    this.process = companion;
    this.#dir = dir;
  }

  static async start(world: KumaWorld, options: Partial<CompanionOptions> = {}): Promise<WorldCompanion> {
    await using opening = new AsyncDisposableStack();
    const dir = opening.use(new TemporaryDir());
    const companion = opening.use(
      await CompanionProcess.start({
        kumaApi: [world.restUrl],
        dir: dir.path,
        authn: 'token',
        tls: world.companionTls,
        ...options,
      }),
    );
    opening.move();
    return new WorldCompanion(companion, dir);
  }

  /** An agent that has nothing but this companion to turn to; more options may follow. */
  agent({ stateDir, reportFile }: WorldFleet, ...more: readonly string[]): InstanceWrapping {
    const endpoint = ['--endpoint', `grpcs://${this.process.address}`];
    return { agent: [...endpoint, '--state-dir', stateDir, '--report-file', reportFile, ...more] };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]();
    this.#dir[Symbol.dispose]();
  }
}
