import { writeFileSync } from 'node:fs';

import { AGENT_BIN } from './agent-process.ts';
import { ControlPlane } from './kuma/control-plane.ts';
import { SignalScene } from './signal-scene.ts';
import { TemporaryDir } from './world/temporary-dir.ts';

export interface ScriptedSceneOptions {
  /** Of the whole stop: `5s`. */
  readonly stopBudget: string;
  readonly bin?: string;
  /** Another program in place of the script. */
  readonly child?: string;
}

/** Scenes on one control plane whose kuma-dp is a shell script. */
export class ScriptedKumaDp implements AsyncDisposable {
  readonly #controlPlane: ControlPlane;
  readonly #dir: TemporaryDir;

  static async start(script: string): Promise<ScriptedKumaDp> {
    const dir = new TemporaryDir();
    writeFileSync(dir.join('kuma-dp'), script, { mode: 0o755 });
    return new ScriptedKumaDp(await ControlPlane.start(), dir);
  }

  private constructor(controlPlane: ControlPlane, dir: TemporaryDir) {
    this.#controlPlane = controlPlane;
    this.#dir = dir;
  }

  /** @param owner of the object, as `--lifecycle` names it */
  scene(
    owner: 'cp' | 'agent',
    { stopBudget, bin = AGENT_BIN, child = this.#dir.join('kuma-dp') }: ScriptedSceneOptions,
  ): SignalScene {
    return new SignalScene({
      controlPlane: this.#controlPlane,
      put: owner === 'cp',
      options: [`--lifecycle=${owner}`, '--settle=100ms', `--stop-budget=${stopBudget}`],
      programs: { bin, child },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#controlPlane[Symbol.asyncDispose]();
    this.#dir[Symbol.dispose]();
  }
}
