import { connect } from 'node:net';

import type { Connecting } from '../kernel/tcp-contact.ts';
import type { ConnectOutcome, Target } from '../kernel/tcp-findings.ts';

/** Begins a TCP connect. Whatever comes of it, no byte is sent. */
export function tcpConnect({ address, port }: Target): Connecting {
  let outcome: ConnectOutcome = 'no answer';
  const socket = connect({ host: address, port });
  const settled = new Promise<void>((resolve) => {
    socket.once('connect', () => {
      outcome = 'accepted';
      resolve();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (outcome === 'no answer') outcome = { code: error.code ?? error.message };
      resolve();
    });
  });
  return {
    settled,
    outcome: () => outcome,
    close: () => {
      socket.destroy();
    },
  };
}
