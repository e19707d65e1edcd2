import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { formatDuration } from '../../../../kernel/duration.ts';
import { type BootstrapAnswer } from '../bootstrap-protocol.ts';
import { postAdmin } from './admin-client.ts';
import { fetchBootstrap } from './bootstrap-client.ts';
import { type Configuration } from './configuration.ts';
import { type GivenResource, readResource } from './dataplane-template.ts';
import { envoyConfiguration, listenersFile } from './envoy-configuration.ts';
import { envoyBuild, resolveEnvoy, type RunningEnvoy, startEnvoy } from './envoy-process.ts';
import { CommandError } from './flags.ts';
import { log } from './log.ts';
import { ReadinessReporter } from './readiness-reporter.ts';
import { StopSignals } from './stop-signals.ts';

/**
 * `kuma-dp run`.
 *
 * @returns the exit code
 * @throws {@link CommandError} if it cannot start
 */
export async function run(given: Configuration): Promise<number> {
  log('INFO', 'starting Data Plane');
  const resource = await readResource(given);
  const configuration = { ...given, caCert: readCaCert(given), token: readToken(given) };
  const temporary = given.workDir === '';
  const workDir = temporary ? mkdtempSync(join(tmpdir(), 'kuma-dp-')) : given.workDir;
  if (temporary) chmodSync(workDir, 0o711);
  else mkdirSync(workDir, { recursive: true, mode: 0o711 });
  const signals = new StopSignals();
  try {
    return await runIn(workDir, { configuration, resource, signals });
  } finally {
    if (temporary) rmSync(workDir, { recursive: true, force: true });
  }
}

interface Start {
  readonly configuration: Configuration;
  readonly resource: GivenResource | undefined;
  readonly signals: StopSignals;
}

async function runIn(workDir: string, start: Start): Promise<number> {
  const { configuration, resource, signals } = start;
  const binary = await resolveEnvoy(configuration.binaryPath);
  log('INFO', 'fetching bootstrap configuration');
  const request = {
    mesh: resource?.mesh ?? configuration.mesh,
    name: resource?.name ?? configuration.name,
    proxyType: configuration.proxyType,
    dataplaneToken: configuration.token,
    dataplaneResource: resource?.json ?? '',
    workdir: workDir,
    readinessPort: configuration.readinessPort,
    envoyBuild: envoyBuild(binary),
  };
  const answer = await fetchBootstrap(request, configuration, signals.graceful);
  log('INFO', 'received bootstrap configuration', { admin: answer.admin });

  const { bootstrap, listeners } = envoyConfiguration(answer, configuration, workDir);
  const bootstrapFile = join(workDir, 'bootstrap.yaml');
  writeFileSync(listenersFile(workDir), JSON.stringify(listeners), { mode: 0o600 });
  writeFileSync(bootstrapFile, JSON.stringify(bootstrap, null, 1), { mode: 0o600 });
  const envoy = startEnvoy(binary, bootstrapFile, configuration);
  const readiness = new ReadinessReporter(answer.admin);
  try {
    await readiness.listen(configuration.readinessPort);
  } catch (error) {
    await envoy.stop();
    throw new CommandError((error as Error).message);
  }
  log('INFO', 'starting Kuma DP', { version: answer.version });
  const code = await superviseUntilEnd(envoy, { configuration, answer, readiness, signals });
  readiness.close();
  return code;
}

interface Supervision {
  readonly configuration: Configuration;
  readonly answer: BootstrapAnswer;
  readonly readiness: ReadinessReporter;
  readonly signals: StopSignals;
}

async function superviseUntilEnd(envoy: RunningEnvoy, supervision: Supervision): Promise<number> {
  const stop = stopRequested(supervision).then(() => undefined);
  const exit = await Promise.race([envoy.exited, stop]);
  if (exit === undefined) {
    log('INFO', 'stopping all Kuma DP components');
    await envoy.stop();
    log('INFO', 'stopping Kuma DP');
    return 0;
  }
  if (exit.code === 0) {
    log('INFO', 'Envoy terminated successfully');
    return 0;
  }
  const reason = exit.signal === null ? `exit status ${exit.code ?? ''}` : `signal: ${exit.signal}`;
  log('ERROR', 'Envoy terminated with an error', { error: reason });
  throw new CommandError(reason);
}

/** Resolves when the components shall stop: after the drain, or at once if USR2 drained before. */
async function stopRequested({ configuration, answer, readiness, signals }: Supervision): Promise<void> {
  const drain = { done: false };
  signals.onDrain(() => {
    if (drain.done) return;
    drain.done = true;
    log('INFO', 'draining Envoy connections');
    postAdmin(answer.admin, '/drain_listeners?inboundonly&graceful&skip_exit').catch((error: unknown) => {
      log('ERROR', 'could not drain connections', { error: String(error) });
    });
  });
  await aborted(signals.graceful);
  log('INFO', 'Kuma DP caught an exit signal');
  if (drain.done) {
    log('INFO', 'already drained, exit immediately');
    return;
  }
  readiness.terminating();
  log('INFO', 'draining Envoy connections');
  try {
    await postAdmin(answer.admin, '/healthcheck/fail');
  } catch (error) {
    log('ERROR', 'could not drain connections', { error: String(error) });
    return;
  }
  const waitMs = configuration.drainTimeMs;
  log('INFO', 'waiting for connections to be drained', { waitTime: formatDuration(waitMs) });
  await Promise.race([
    aborted(signals.immediate),
    new Promise((elapsed) => {
      setTimeout(elapsed, waitMs).unref();
    }),
  ]);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else
      signal.addEventListener(
        'abort',
        () => {
          resolve();
        },
        { once: true },
      );
  });
}

function readCaCert({ caCert, caCertFile }: Configuration): string {
  if (caCert !== '' || caCertFile === '') return caCert;
  try {
    return readFileSync(caCertFile, 'utf8');
  } catch {
    throw new CommandError(`could not read certificate file ${caCertFile}: no such file or directory`);
  }
}

function readToken({ token, tokenPath }: Configuration): string {
  if (token !== '' || tokenPath === '') return token.trim();
  try {
    return readFileSync(tokenPath, 'utf8').trim();
  } catch {
    throw new CommandError(
      `Failed to fetch Envoy bootstrap config. open ${tokenPath}: no such file or directory`,
    );
  }
}
