import { type Answer, errorAnswer } from './rest-errors.ts';
import { type ControlPlaneSettings } from './settings.ts';

export type User = 'admin' | 'anonymous';

/** The caller: an administrator by token or by loopback, anonymous without a token, refused with a wrong one. */
export function identify(
  authorization: string | undefined,
  settings: ControlPlaneSettings,
): User | 'unauthenticated' {
  if (settings.localhostIsAdmin) return 'admin';
  if (authorization === undefined) return 'anonymous';
  const token = /^Bearer (.*)$/.exec(authorization)?.[1];
  if (token === undefined) return 'anonymous';
  return settings.userTokens.includes(token) ? 'admin' : 'unauthenticated';
}

export const UNAUTHENTICATED: Answer = errorAnswer({
  status: 401,
  title: 'Invalid authentication data',
  detail: 'Unauthenticated',
});

export function whoAmI(user: User): Answer {
  const body =
    user === 'admin'
      ? { name: 'mesh-system:admin', groups: ['mesh-system:admin', 'mesh-system:authenticated'] }
      : { name: 'mesh-system:anonymous', groups: ['mesh-system:unauthenticated'] };
  return { status: 200, body };
}

/** @param what for example `generate dataplane token` */
export function denied(what: string): Answer {
  return errorAnswer({
    status: 403,
    title: 'Access Denied',
    detail: `user "mesh-system:anonymous/mesh-system:unauthenticated" cannot access ${what}`,
  });
}
