import { createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { isIP } from 'node:net';

import { sendJson, type HttpRoute } from '../../program/http-faces.ts';

const COOKIE = 'kuma_deregistrar';
/** A cookie lasts as long as the browser is open. */
const COOKIE_ATTRIBUTES = 'HttpOnly; SameSite=Lax; Path=/';
const HOW = 'Authorization: Bearer TOKEN, or ?token=TOKEN in a browser';

/**
 * Only for who shows the token: as a Bearer, or once as `?token=`, which becomes a cookie and leaves the address. The
 * cookie is not the token, but only the token makes it.
 */
export function withToken(route: HttpRoute, current: () => Promise<string>): HttpRoute {
  return {
    path: route.path,
    serve: async (request, response) => {
      const token = await current();
      const given = new URL(request.url ?? '', 'http://host').searchParams.get('token');
      if (given !== null && isSame(given, token)) exchange(route.path, token, response);
      else if (isAuthorised(request, token)) await route.serve(request, response);
      else {
        response.setHeader('www-authenticate', 'Bearer');
        sendJson(response, 401, { error: `A token is needed: ${HOW}` });
      }
    },
  };
}

/**
 * Only for who asks by an address or as localhost: a name may be that of a foreign page which was pointed to this host,
 * and that page may read what it gets.
 *
 * @see https://en.wikipedia.org/wiki/DNS_rebinding
 */
export function withoutForeignNames(route: HttpRoute): HttpRoute {
  return {
    path: route.path,
    serve: (request, response) => {
      const { host = '' } = request.headers;
      if (isOwnName(host)) return route.serve(request, response);
      sendJson(response, 403, {
        error: 'Only as localhost or by address; a proxy has to set the Host header',
      });
    },
  };
}

function isOwnName(host: string): boolean {
  const name = /^(?:\[(?<v6>[^\]]+)\]|(?<host>[^:]*))(?::\d+)?$/.exec(host)?.groups;
  const bare = name?.['v6'] ?? name?.['host'] ?? '';
  return bare === 'localhost' || isIP(bare) !== 0;
}

function isAuthorised({ headers }: IncomingMessage, token: string): boolean {
  const bearer = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1];
  if (bearer !== undefined) return isSame(bearer, token);
  const cookie = (headers.cookie ?? '')
    .split(';')
    .map((each) => each.trim().split('='))
    .find(([name]) => name === COOKIE)?.[1];
  return cookie !== undefined && isSame(cookie, cookieOf(token));
}

function exchange(path: string, token: string, response: ServerResponse): void {
  response
    .writeHead(303, { location: path, 'set-cookie': `${COOKIE}=${cookieOf(token)}; ${COOKIE_ATTRIBUTES}` })
    .end();
}

function cookieOf(token: string): string {
  return createHmac('sha256', token).update(COOKIE).digest('hex');
}

/** In a time that says nothing of where they differ, nor of their lengths. */
function isSame(given: string, expected: string): boolean {
  const digest = (text: string): Buffer => createHmac('sha256', expected).update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}
