import { Agent, get } from 'node:http';

import type { KumaDpReadiness } from '../ports.ts';

const PATIENCE_MS = 200;

/**
 * kuma-dp's readiness reporter on loopback, where it listens on Universal. Between 2.12 and 2.13 it is a Unix socket
 * by default and this says `false`, as it does whenever it cannot tell.
 *
 * @see kuma app/kuma-dp/pkg/dataplane/readiness/component.go: 503 with the body `TERMINATING`
 */
export function kumaDpReadiness(port: string): KumaDpReadiness {
  return {
    isTerminating: () =>
      new Promise((resolve) => {
        const request = get(
          { host: '127.0.0.1', port, path: '/ready', timeout: PATIENCE_MS, agent: new Agent() },
          (response) => {
            response.setEncoding('utf8');
            let body = '';
            response.on('data', (chunk: string) => (body += chunk));
            response.on('end', () => {
              resolve(body.trim() === 'TERMINATING');
            });
            response.on('error', () => {
              resolve(false);
            });
          },
        );
        request.on('timeout', () => request.destroy());
        request.on('error', () => {
          resolve(false);
        });
      }),
  };
}
