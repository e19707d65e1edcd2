import { pause, systemClock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import { endpointName } from '../../kernel/endpoint-name.ts';
import { describeError, OperationalError } from '../../kernel/errors.ts';
import { RestClient } from '../../kuma/rest-client.io.ts';
import { controlPlaneCertificate } from '../server/control-plane-certificate.io.ts';
import { isLocal, type ListenerAddress } from '../../kernel/listener-address.ts';
import { ServerCertificate, type CertificateFiles } from '../../program/server-certificate.ts';
import type { DeregistrarEvents } from '../events.ts';
import type { ServeOptions } from '../options.ts';
import type { KumaAccess } from './kuma-access.ts';

interface CertificateParts {
  readonly addresses: readonly ListenerAddress[];
  readonly kuma: KumaAccess;
  readonly events: DeregistrarEvents;
  readonly stop: AbortSignal;
}

const ASK_BUDGET_MS = 2_000;
const ASK_AGAIN_MS = 2_000;

/**
 * The certificate for agents: the given one, otherwise the local control plane's, for which the companion waits.
 *
 * @returns `undefined` if everything is in plain text
 * @throws {@link OperationalError} `CONFIG_INVALID` if there is no usable one
 */
export async function openCertificate(
  options: ServeOptions,
  parts: CertificateParts,
): Promise<ServerCertificate | undefined | 'stopped'> {
  const { addresses, events } = parts;
  const unencrypted = (address: ListenerAddress): boolean =>
    address.kind === 'unix' || (options.plaintext && isLocal(address));
  if (addresses.every(unencrypted)) return undefined;
  const files = await findFiles(options, parts);
  if (files === 'stopped') return files;
  const certificate = new ServerCertificate(
    { ...files, clientCaFile: options.clientCaFile },
    { certificateReloaded: events.certificateReloaded, certificateBroken: events.certificateBroken },
  );
  events.certificateReloaded(files.certificateFile, certificate.expiresAtMs);
  return certificate;
}

type Files = Omit<CertificateFiles, 'clientCaFile'>;

async function findFiles(
  { tlsCertificateFile, tlsKeyFile }: ServeOptions,
  { kuma, events, stop }: CertificateParts,
): Promise<Files | 'stopped'> {
  if (tlsCertificateFile !== undefined && tlsKeyFile !== undefined) {
    return { certificateFile: tlsCertificateFile, keyFile: tlsKeyFile };
  }
  for (let said = false; !stop.aborted; said = true) {
    try {
      return await askControlPlane(kuma);
    } catch (error) {
      if (!(error instanceof OperationalError) || error.code === 'CONFIG_INVALID') throw error;
      if (!said) events.certificateAwaited(describeError(error));
      await pause(systemClock, ASK_AGAIN_MS, stop);
    }
  }
  return 'stopped';
}

/** Only the first, local control plane. */
async function askControlPlane({ urls: [url], tls, userToken }: KumaAccess): Promise<Files> {
  const client = new RestClient({ url, tls, userToken });
  try {
    const action = `ask ${endpointName(url)} for its certificate`;
    const found = await withDeadline({ clock: systemClock, action, budgetMs: ASK_BUDGET_MS }, ({ signal }) =>
      controlPlaneCertificate(client, signal),
    );
    if ('certificateFile' in found) return found;
    throw new OperationalError(
      'CONFIG_INVALID',
      `Cannot find a certificate to show to agents: ${found.problem}; name one by --tls-cert-file and --tls-key-file`,
    );
  } finally {
    client.close();
  }
}
