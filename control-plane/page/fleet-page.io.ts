import { createHash } from 'node:crypto';

import type { Clock } from '../../kernel/clock.ts';
import type { FleetChange } from './fleet-change.pure.ts';
import type { FleetSnapshot } from './fleet-view.pure.ts';
import { EventStreams, serverSentEvent } from './event-streams.io.ts';
import { sendJson, type HttpRoute } from '../../program/http-listeners.ts';

/** The source of the page's content. */
export interface FleetSource {
  snapshot(): Promise<FleetSnapshot>;
  /** @returns what ends it */
  follow(listener: (snapshot: FleetSnapshot, change: FleetChange | undefined) => void): () => void;
}

export interface FleetPageSettings {
  readonly clock: Clock;
  /** One document with its own style and script in it. */
  readonly html: string;
  readonly fleet: FleetSource;
}

/** The page, what it shows as JSON, and the same as it changes. */
export function fleetRoutes({ clock, html, fleet }: FleetPageSettings): readonly HttpRoute[] {
  return [pageRoute(html), snapshotRoute(fleet), eventsRoute(fleet, new EventStreams(clock))];
}

function pageRoute(html: string): HttpRoute {
  const headers = {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': contentSecurityPolicy(html),
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
  };
  return {
    path: '/',
    serve: (_request, response) => {
      response.writeHead(200, headers).end(html);
    },
  };
}

/**
 * Only the document's own script and style may run
 *
 * @see https://www.w3.org/TR/CSP3/
 */
function contentSecurityPolicy(html: string): string {
  return [
    "default-src 'none'",
    `script-src ${hashes(html, 'script')}`,
    `style-src ${hashes(html, 'style')}`,
    'img-src data:',
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
}

function hashes(html: string, element: 'script' | 'style'): string {
  const contents = [...html.matchAll(new RegExp(`<${element}>(.*?)</${element}>`, 'gs'))];
  return contents
    .map(([, text = '']) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`)
    .join(' ');
}

function snapshotRoute(fleet: FleetSource): HttpRoute {
  return {
    path: '/fleet',
    serve: async (_request, response) => {
      sendJson(response, 200, await fleet.snapshot());
    },
  };
}

function eventsRoute(fleet: FleetSource, streams: EventStreams): HttpRoute {
  let unfollow: (() => void) | undefined;
  const publish = (snapshot: FleetSnapshot, change: FleetChange | undefined): void => {
    streams.publish({
      whole: once(() => serverSentEvent('snapshot', snapshot)),
      change: change === undefined ? undefined : once(() => serverSentEvent('change', change)),
    });
  };
  return {
    path: '/fleet/events',
    serve: (request, response) => {
      if (request.method === 'HEAD') {
        response.writeHead(200, { 'content-type': 'text/event-stream' }).end();
        return;
      }
      const opened = streams.open(response, () => {
        if (streams.size > 0) return;
        unfollow?.();
        unfollow = undefined;
      });
      if (opened) unfollow ??= fleet.follow(publish);
      else {
        response.setHeader('retry-after', '10');
        sendJson(response, 503, { error: 'Too many browsers are connected' });
      }
    },
  };
}

function once(make: () => Buffer): () => Buffer {
  let made: Buffer | undefined;
  return () => (made ??= make());
}
