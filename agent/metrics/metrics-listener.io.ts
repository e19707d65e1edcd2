import { systemClock } from '../../kernel/clock.ts';
import { OperationalError } from '../../kernel/errors.ts';
import { isLocal, parseListenerAddress, type ListenerAddress } from '../../kernel/listener-address.ts';
import { guarded } from '../../program/http-gate.ts';
import { metricsRoute, startHttpListeners } from '../../program/http-listeners.ts';
import { ServerCertificate } from '../../program/server-certificate.ts';
import { agentMetrics, type MetricsSource } from './metrics.io.ts';

export interface MetricsListener {
  /** `HOST:PORT`, with the port that the kernel chose, or `unix:PATH`. */
  readonly address: string;
  /** Closes at once and cuts off unfinished answers. */
  close(): void;
}

/** The address of the metrics and the rules of access. */
export interface MetricsPlace {
  readonly address: ListenerAddress;
  /** Only a caller that shows this token is answered. */
  readonly tokenFile: string | undefined;
  /** Both or none: HTTPS with them. */
  readonly certificateFile: string | undefined;
  readonly keyFile: string | undefined;
}

interface MetricsListenerEvents {
  readonly onError: (error: unknown) => void;
  /** Called when a file becomes unusable: its last content stays in use. */
  readonly onFileKept: (path: string, err: unknown) => void;
}

/**
 * Serves /metrics, and nothing else, until it is closed.
 *
 * @throws OperationalError `LISTENER_FAILED`, and `CONFIG_INVALID` for a file that cannot be used
 */
export async function openMetricsListener(
  place: MetricsPlace,
  source: MetricsSource & MetricsListenerEvents,
): Promise<MetricsListener> {
  const { address, tokenFile } = place;
  const certificate = certificateOf(place, source);
  const listeners = await startHttpListeners({
    address,
    certificate,
    ownNamesOnly: tokenFile === undefined,
    routes: guarded([metricsRoute(agentMetrics(source))], tokenFile, source.onFileKept),
    onError: (_path, error) => {
      source.onError(error);
    },
  });
  // The host's own files decide what "localhost" means.
  if (tokenFile === undefined && !isLocal(parseListenerAddress(listeners.address))) {
    await listeners.close();
    throw new OperationalError(
      'LISTENER_FAILED',
      `Cannot listen on ${listeners.address}: that is not a loopback address`,
    );
  }
  const unwatch = certificate?.watch(systemClock);
  return {
    address: listeners.address,
    close: () => {
      unwatch?.();
      void listeners.close();
    },
  };
}

function certificateOf(
  { certificateFile, keyFile }: MetricsPlace,
  { onFileKept }: MetricsListenerEvents,
): ServerCertificate | undefined {
  if (certificateFile === undefined || keyFile === undefined) return undefined;
  return new ServerCertificate(
    { certificateFile, keyFile, clientCaFile: undefined },
    { certificateReloaded: () => {}, certificateBroken: onFileKept },
  );
}
