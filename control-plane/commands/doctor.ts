import { systemClock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import { describeError, OperationalError } from '../../kernel/errors.ts';
import { describeFindings, exitCodeOf, type Finding } from '../../kernel/findings.ts';
import { RestClient } from '../../kuma/rest-client.io.ts';
import { revocationPaths } from '../../kuma/token-secrets.io.ts';
import { withAdminClient } from '../server/admin-client.io.ts';
import { controlPlaneCertificate } from '../server/control-plane-certificate.io.ts';
import { kumaControlPlanes } from '../control-planes/kuma-control-planes.io.ts';
import { publicKeyFiles } from '../tokens/public-key-files.io.ts';
import { secretReader } from '../tokens/secret-reader.io.ts';
import { ServerCertificate } from '../../program/server-certificate.ts';
import { judgeCertificate, judgeClocks, judgeControlPlane, judgeWitnesses } from './doctor-findings.pure.ts';
import type { ServeOptions } from '../options.ts';
import { openStore } from '../store/open-store.ts';
import { kumaAccess, type KumaAccess } from './kuma-access.ts';

const BUDGET_MS = 3_000;

/** Finds problems that would keep the companion from working, with the remedy. Changes nothing. */
export async function doctor(
  options: ServeOptions,
): Promise<{ readonly text: string; readonly code: number }> {
  const access = kumaAccess(options);
  const findings = [
    ...(await examineControlPlanes(access)),
    await examineCertificate(options, access),
    await examineKeys(options, access),
    ...(await examineRunning(options)),
  ];
  return { text: describeFindings(findings), code: exitCodeOf(findings) };
}

async function examineControlPlanes(access: KumaAccess): Promise<readonly Finding[]> {
  const controlPlanes = kumaControlPlanes({ clock: systemClock, ...access });
  try {
    const looks = await bounded('look at the control planes', (signal) => controlPlanes.look(signal));
    const wallMs = systemClock.wallMs();
    const listed = await bounded('list the dataplanes', (signal) => controlPlanes.overviews(signal)).catch(
      describeError,
    );
    const list: readonly Finding[] =
      typeof listed === 'string'
        ? [{ level: 'failure', about: 'dataplanes', says: listed, remedy: 'see the control planes above' }]
        : judgeClocks({ ...listed, wallMs, looks });
    return [...looks.map(judgeControlPlane), ...list];
  } finally {
    controlPlanes.close();
  }
}

async function examineCertificate(options: ServeOptions, access: KumaAccess): Promise<Finding> {
  const { tlsCertificateFile, tlsKeyFile, plaintext } = options;
  const about = 'certificate';
  if (plaintext) return { level: 'ok', about, says: 'none: --plaintext' };
  try {
    const files =
      tlsCertificateFile === undefined || tlsKeyFile === undefined
        ? await ownFiles(access)
        : { certificateFile: tlsCertificateFile, keyFile: tlsKeyFile };
    const silent = { certificateReloaded: () => {}, certificateBroken: () => {} };
    const { expiresAtMs } = new ServerCertificate({ ...files, clientCaFile: options.clientCaFile }, silent);
    return judgeCertificate(files.certificateFile, expiresAtMs - systemClock.wallMs());
  } catch (error) {
    const remedy = 'name one by --tls-cert-file and --tls-key-file, and let the user of this program read it';
    return { level: 'failure', about, says: describeError(error), remedy };
  }
}

async function ownFiles({ urls: [url], tls, userToken }: KumaAccess) {
  const client = new RestClient({ url, tls, userToken });
  try {
    const found = await bounded('ask for the certificate', (signal) =>
      controlPlaneCertificate(client, signal),
    );
    if ('certificateFile' in found) return found;
    throw new OperationalError('CONFIG_INVALID', found.problem);
  } finally {
    client.close();
  }
}

/** Checks that mounted keys can be read, or without any, that the control plane lets the companion read its own. */
async function examineKeys(
  options: ServeOptions,
  { urls: [url], tls, userToken }: KumaAccess,
): Promise<Finding> {
  const about = 'token keys';
  if (options.authn === 'none')
    return {
      level: 'warning',
      about,
      says: 'none: --authn none',
      remedy: 'every process on this host may deregister any dataplane',
    };
  try {
    publicKeyFiles(options.publicKeys, () => {}, systemClock);
  } catch (error) {
    return { level: 'failure', about, says: describeError(error), remedy: 'check --public-key' };
  }
  const client = new RestClient({ url, tls, userToken });
  try {
    // Reads the keys as the companion does: one request, and only as much as needed.
    for (const path of revocationPaths('default')) await secretReader([client], systemClock)(path);
    return { level: 'ok', about, says: "the control plane's own, and its revocations" };
  } catch (error) {
    const says = `the control plane does not let the companion read its secrets: ${describeError(error)}`;
    return options.publicKeys.length > 0
      ? {
          level: 'warning',
          about,
          says: `${says}; the companion uses mounted keys and knows no revocations`,
          remedy: '--user-token-file of an admin, or --revocations-file',
        }
      : { level: 'failure', about, says, remedy: '--public-key KID=FILE, or --user-token-file of an admin' };
  } finally {
    client.close();
  }
}

/** A locked file is fine if the program that runs here uses it; that program also knows its witnesses. */
async function examineRunning(options: ServeOptions): Promise<readonly Finding[]> {
  const running = await withAdminClient(options.adminSocket, (client) =>
    client.getStatus({ mesh: '' }),
  ).catch(() => undefined);
  // It does not run here, so the store can be opened.
  if (running === undefined) return [await examineStore(options)];
  const store = judgeRunningStore(running.store?.kind ?? '', running.store?.problem ?? '');
  if (options.witness === 'off') return [store];
  const attached = running.dataplanes.filter(({ state }) => state === 'attached').length;
  const unwatched = running.unwatched.map(({ dataplane, reason }) => ({
    name: `${dataplane?.mesh ?? ''}/${dataplane?.name ?? ''}`,
    reason,
  }));
  return [store, judgeWitnesses({ attached, unwatched })];
}

function judgeRunningStore(kind: string, problem: string): Finding {
  const about = 'store';
  if (problem === '') return { level: 'ok', about, says: `${kind}, in use by the program that runs here` };
  const remedy = 'until it is back, requested departures go on in memory only';
  return { level: 'failure', about, says: problem, remedy };
}

async function examineStore({ store }: ServeOptions): Promise<Finding> {
  const about = 'store';
  try {
    const opened = await openStore(store, { clock: systemClock });
    await opened.close();
    return { level: 'ok', about, says: opened.kind };
  } catch (error) {
    return { level: 'failure', about, says: describeError(error), remedy: 'see --store' };
  }
}

function bounded<T>(action: string, ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
  return withDeadline({ clock: systemClock, action, budgetMs: BUDGET_MS }, ({ signal }) => ask(signal));
}
