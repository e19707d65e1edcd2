import { execFileSync, spawn } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, dirname, join, resolve } from 'node:path';

import { CACHED_ENVOY, ENVOY_BUILD, envoyBinary } from '../../../../scripts/install-envoy.ts';
import { type Configuration } from './configuration.ts';
import { CommandError } from './flags.ts';
import { log } from './log.ts';

export interface EnvoyExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface RunningEnvoy {
  readonly exited: Promise<EnvoyExit>;
  /** SIGTERM, then SIGKILL after 5 s. Resolves when it is gone. */
  stop(): Promise<void>;
}

/** Go's `exec.Cmd.WaitDelay` as kuma-dp sets it. */
const STOP_TIMEOUT_MS = 5_000;

/**
 * The Envoy to run: a path given, or `envoy` beside kuma-dp or on `PATH`. The default also finds what
 * `npm run envoy` installs.
 *
 * @throws {@link CommandError} in kuma-dp's words
 */
export async function resolveEnvoy(binaryPath: string): Promise<string> {
  if (binaryPath === 'envoy') return envoyBinary();
  const candidates = binaryPath.includes('/')
    ? [binaryPath, join(dirname(import.meta.dirname), binaryPath)]
    : (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, binaryPath));
  const found = candidates.find((file) => isExecutable(file));
  if (found === undefined) {
    throw new CommandError(`could not find binary in any of the following paths: ${candidates.join(':')}`);
  }
  return resolve(found);
}

/** `revision/version/status/type/tls`, as `envoy --version` prints it; a constant for the installed one. */
export function envoyBuild(binary: string): string {
  if (binary === CACHED_ENVOY) return ENVOY_BUILD;
  const output = execFileSync(binary, ['--version'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return /version:\s*(\S+)/.exec(output)?.[1] ?? '';
}

/** Starts Envoy in a process group of its own that dies with this process. Its output goes to standard output. */
export function startEnvoy(
  binary: string,
  bootstrapFile: string,
  configuration: Configuration,
): RunningEnvoy {
  const argv = envoyArguments(bootstrapFile, configuration);
  log('INFO', 'starting Envoy', { path: binary, arguments: argv });
  const child = spawn(...tiedToParent(binary, argv), { stdio: ['ignore', 1, 1], detached: true });
  const exited = new Promise<EnvoyExit>((resolveExit) => {
    child.once('error', () => {
      resolveExit({ code: 127, signal: null });
    });
    child.once('exit', (code, signal) => {
      resolveExit({ code, signal });
    });
  });
  const killWithParent = (): void => {
    child.kill('SIGKILL');
  };
  process.once('exit', killWithParent);
  void exited.then(() => process.off('exit', killWithParent));
  return {
    exited,
    async stop() {
      log('INFO', 'stopping Envoy');
      child.kill('SIGTERM');
      const timer = setTimeout(killWithParent, STOP_TIMEOUT_MS);
      await exited;
      clearTimeout(timer);
    },
  };
}

function envoyArguments(bootstrapFile: string, configuration: Configuration): readonly string[] {
  const { drainTimeMs, envoyLogLevel, envoyComponentLogLevel, concurrency } = configuration;
  return [
    '--config-path',
    bootstrapFile,
    '--drain-time-s',
    String(Math.floor(drainTimeMs / 1_000)),
    '--drain-strategy',
    'immediate',
    '--disable-hot-restart',
    '--log-level',
    envoyLogLevel,
    ...(envoyComponentLogLevel === '' ? [] : ['--component-log-level', envoyComponentLogLevel]),
    ...(concurrency > 0 ? ['--concurrency', String(concurrency)] : ['--cpuset-threads']),
  ];
}

/** Linux kills Envoy when this process dies, however that happens: what Go calls Pdeathsig. */
function tiedToParent(binary: string, argv: readonly string[]): [string, string[]] {
  const setpriv = ['/usr/bin/setpriv', '/bin/setpriv'].find((file) => isExecutable(file));
  if (setpriv === undefined) return [binary, [...argv]];
  return [setpriv, ['--pdeathsig', 'KILL', binary, ...argv]];
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}
