import { companionEndpoint } from '../../agent/companion/companion-endpoint.io.ts';
import { dataplaneToken } from '../../agent/identity/dataplane-token.io.ts';
import type { AttachListener, AttachStream, Companion, Hello, Witness } from '../../agent/ports.ts';
import { systemClock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import { DEAF } from './deaf-listener.ts';

/** The hello of an agent whose dataplane runs and serves. */
export const HELLO: Hello = {
  departure: {
    key: { proxyType: 'dataplane', mesh: 'default', name: 'web-1' },
    own: { incarnation: '2f1f4b1e-5f6e-4c2a-9d53-0a4b1c2d3e4f', address: '10.0.0.1' },
  },
  owner: 'agent',
  deletable: true,
  resource: undefined,
  status: { phase: 'running', serving: true },
  epoch: undefined,
};

/** The agent's endpoint at a companion without TLS, until `open` is disposed. */
export function plainEndpoint(url: string, open: AsyncDisposableStack, witness?: Witness): Companion {
  const endpoint = companionEndpoint({
    url: new URL(url),
    tls: { ca: undefined, clientCertificate: undefined, clientKey: undefined, skipVerify: false },
    token: dataplaneToken({ inline: 'token', file: undefined }),
    witness,
  });
  open.defer(() => {
    endpoint.close();
  });
  return endpoint;
}

export function attachTo(
  endpoint: Companion,
  { hello = HELLO, listener = DEAF, budgetMs = 5_000 }: AttachHow = {},
): Promise<AttachStream> {
  return withDeadline({ clock: systemClock, action: 'attach', budgetMs }, (wait) =>
    endpoint.attach(hello, listener, wait),
  );
}

interface AttachHow {
  readonly hello?: Hello;
  readonly listener?: AttachListener;
  readonly budgetMs?: number;
}
