import { createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';

import { sendJson, type HttpRoute } from './http-listeners.ts';
import { keptText, type OnFileKept } from './kept-files.ts';

/** A cookie lasts as long as the browser is open. */
const COOKIE_ATTRIBUTES = 'HttpOnly; SameSite=Lax; Path=/';
const HOW = 'Authorization: Bearer TOKEN, or ?token=TOKEN in a browser';

/** The minimum length makes a token too long to guess. */
const TOKEN = /^[\x21-\x7e]{16,512}$/;

/**
 * Requires the token of the file, if one is named: as a Bearer token, or once as `?token=`, which becomes a cookie and
 * leaves the address. The cookie is derived from the token.
 *
 * @throws OperationalError `CONFIG_INVALID` if the file cannot be used
 */
export function guarded(
  routes: readonly HttpRoute[],
  tokenFile: string | undefined,
  onKept: OnFileKept,
): readonly HttpRoute[] {
  if (tokenFile === undefined) return routes;
  const file = keptText({
    path: tokenFile,
    parse: (text) => (TOKEN.test(text.trim()) ? text.trim() : undefined),
    expected: 'a token of 16 to 512 visible characters',
    onKept,
  });
  return routes.map((route) => withToken(route, () => file.fresh));
}

/** @param current gives the token that is in force */
export function withToken(route: HttpRoute, current: () => string): HttpRoute {
  return {
    path: route.path,
    serve: async (request, response) => {
      const token = current();
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

function isAuthorised({ headers }: IncomingMessage, token: string): boolean {
  const bearer = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1];
  if (bearer !== undefined) return isSame(bearer, token);
  const wanted = cookieOf(token);
  const cookies = (headers.cookie ?? '').split(';').map((each) => each.trim().split('='));
  return cookies.some(([name, value = '']) => name === wanted.name && isSame(value, wanted.value));
}

function exchange(path: string, token: string, response: ServerResponse): void {
  const { name, value } = cookieOf(token);
  response.writeHead(303, { location: path, 'set-cookie': `${name}=${value}; ${COOKIE_ATTRIBUTES}` }).end();
}

/** Each token has a cookie of its own: browsers share them among the ports of a host. */
function cookieOf(token: string): { readonly name: string; readonly value: string } {
  const derived = (use: string): string => createHmac('sha256', token).update(use).digest('hex');
  return { name: `kuma_access_${derived('name').slice(0, 8)}`, value: derived('value') };
}

/** Compares in constant time, whatever the lengths. */
function isSame(given: string, expected: string): boolean {
  const digest = (text: string): Buffer => createHmac('sha256', expected).update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}
