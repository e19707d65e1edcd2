import { OperationalError } from '../../kernel/errors.ts';
import { isLocal, parseListenerAddress, type ListenerAddress } from '../../kernel/listener-address.ts';
import { metricsRoute, startHttpListeners } from '../../program/http-listeners.ts';
import { agentMetrics, type MetricsSource } from './metrics.io.ts';

export interface MetricsListener {
  /** `HOST:PORT`, with the port that the kernel chose, or `unix:PATH`. */
  readonly address: string;
  /** At once: answers that are not out yet are cut off. */
  close(): void;
}

/**
 * Serves /metrics, and nothing else, until it is closed.
 *
 * @throws OperationalError `LISTENER_FAILED`
 */
export async function openMetricsListener(
  address: ListenerAddress,
  source: MetricsSource & { readonly onError: (error: unknown) => void },
): Promise<MetricsListener> {
  const listeners = await startHttpListeners({
    address,
    ownNamesOnly: true,
    routes: [metricsRoute(agentMetrics(source))],
    onError: (_path, error) => {
      source.onError(error);
    },
  });
  // "localhost" means what the host's own files say.
  if (!isLocal(parseListenerAddress(listeners.address))) {
    await listeners.close();
    throw new OperationalError(
      'LISTENER_FAILED',
      `Cannot listen on ${listeners.address}: that is no loopback address`,
    );
  }
  return { address: listeners.address, close: () => void listeners.close() };
}
