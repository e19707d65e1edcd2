import { AdminService, type AdminServer } from '../../proto/gen/deregistrar/v1/admin.ts';
import { DeregistrarService, type DeregistrarServer } from '../../proto/gen/deregistrar/v1/deregistrar.ts';
import type { Engine } from '../engine.ts';
import type { PeerConnection } from '../attached-agent.ts';
import type { Authenticator } from '../ports.ts';
import { getStatus } from './admin/get-status.ts';
import { releaseBrake } from './admin/release-brake.ts';
import { sweep } from './admin/sweep.ts';
import { undo } from './admin/undo.ts';
import { AttachQueue } from './attach-queue.ts';
import { attach } from './attach.ts';
import { authorisation } from './authorisation.ts';
import type { CallBounds } from './call-bounds.ts';
import type { MarkAuthenticated, PeerCall } from './callers.ts';
import { confirm } from './confirm.ts';
import { deregister } from './deregister.ts';
import { getControlPlane } from './get-control-plane.ts';
import { unary } from './handlers.ts';
import { register } from './register.ts';
import { TokenCheck } from './token-check.ts';

export interface AgentServiceDeps {
  readonly engine: Engine;
  readonly authenticator: Authenticator;
  readonly bounds: CallBounds;
  /** Called when a token is not for its dataplane. */
  readonly onDenied: () => void;
  /** The connection of this call no longer counts as a stranger's. */
  readonly markAuthenticated: MarkAuthenticated;
  /** @returns the connection of this call; `undefined` where there is none to lose */
  readonly connectionOf?: (call: Pick<PeerCall, 'getPeer'>) => PeerConnection | undefined;
}

const SERVICE = 'deregistrar.v1.Deregistrar';
/**
 * Enough to keep a store busy while it syncs. With more, each turn of the event loop takes longer, and arriving agents
 * wait for it.
 */
const ATTACHED_TOGETHER = 32;

/** The agents' calls. */
export function deregistrarService(given: AgentServiceDeps) {
  const {
    engine,
    authenticator,
    bounds,
    onDenied,
    markAuthenticated,
    connectionOf = () => undefined,
  } = given;
  const { watch, agents, requested, deps } = engine;
  const { clock, events, store, controlPlanes, settings } = deps;
  const tokens = new TokenCheck({ authenticator, bounds, events, service: SERVICE });
  const { authorise, authoriseByName } = authorisation({
    clock,
    events,
    tokens,
    controlPlanes,
    store,
    watch,
    onDenied,
  });
  const calls = { clock, events, presence: watch.presence, bounds, markAuthenticated };
  const implementation: DeregistrarServer = {
    attach: attach({
      clock,
      events,
      authorise,
      agents,
      queue: new AttachQueue({ clock, together: ATTACHED_TOGETHER }),
      isExpected: (incarnation) => engine.expected.has(incarnation),
      watch,
      graceMs: settings.graceMs,
      bounds,
      markAuthenticated,
      connectionOf,
      onTestified: (agent, testimony) => {
        engine.witnesses.testified(agent, testimony);
      },
    }),
    register: unary(calls, (request, context) =>
      register({ clock, events, authorise, agents, store, controlPlanes }, request, context),
    ),
    deregister: unary(calls, (request, context) =>
      deregister({ clock, authorise, agents, requested }, request, context),
    ),
    confirm: unary(calls, (request, context) =>
      confirm({ clock, authorise, store, controlPlanes, requested }, request, context),
    ),
    getControlPlane: unary(calls, (request, context) =>
      getControlPlane({ clock, authoriseByName, watch, controlPlanes }, request, context),
    ),
  };
  return { definition: DeregistrarService, implementation, interceptors: [tokens.interceptor] };
}

/** The operators' calls. Access to the socket is the permission. */
export function adminService(engine: Engine, startedAtMs: number) {
  const { watch, agents, heartbeat, brakes, sweeper, witnesses, deps } = engine;
  const { clock, events, store, controlPlanes, replica, settings } = deps;
  const calls = {
    clock,
    events,
    presence: watch.presence,
    bounds: undefined,
    markAuthenticated: () => undefined,
  };
  const implementation: AdminServer = {
    getStatus: unary(calls, (request) =>
      getStatus(
        { clock, store, watch, agents, heartbeat, brakes, search: witnesses.search, replica, startedAtMs },
        request,
      ),
    ),
    sweep: unary(calls, (request) => sweep(settings.sweep === 'off' ? undefined : sweeper, request)),
    undo: unary(calls, (request) =>
      undo({ clock, events, store, controlPlanes, sidelinings: witnesses.sidelinings }, request),
    ),
    releaseBrake: unary(calls, (request) => releaseBrake({ events, store }, request)),
  };
  return { definition: AdminService, implementation };
}
