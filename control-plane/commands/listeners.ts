import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import type { Registry } from 'prom-client';

import { systemClock } from '../../kernel/clock.ts';
import { fleetRoutes } from '../page/fleet-page.io.ts';
import {
  liveRoute,
  metricsRoute,
  readyRoute,
  startHttpListeners,
  type HttpListeners,
  type HttpRoute,
} from '../../program/http-listeners.ts';
import { guarded } from '../../program/http-gate.ts';
import type { Engine } from '../engine.ts';
import type { DeregistrarEvents } from '../events.ts';
import { FleetFeed } from '../page/fleet-feed.ts';
import type { ServeOptions } from '../options.ts';

export interface CompanionListenerParts {
  readonly engine: Engine;
  readonly options: ServeOptions;
  readonly events: DeregistrarEvents;
  readonly registry: Registry;
  readonly refreshGauges: () => Promise<void>;
}

/**
 * The HTTP listeners for probes, Prometheus and people.
 *
 * @returns `undefined` if there is to be none
 * @throws OperationalError `LISTENER_FAILED`, and `CONFIG_INVALID` if the token file cannot be used
 */
export async function startListeners(parts: CompanionListenerParts): Promise<HttpListeners | undefined> {
  const { engine, options, events, registry, refreshGauges } = parts;
  if (options.http === 'off') return undefined;
  const routes = [metricsRoute(registry, refreshGauges), ...(await pageRoutes(parts))];
  const ready = readyRoute(systemClock, () => Promise.resolve(unreadiness(engine)));
  return startHttpListeners({
    address: options.http,
    ownNamesOnly: options.httpTokenFile === undefined,
    routes: [liveRoute(), ready, ...guarded(routes, options.httpTokenFile, events.fileKept)],
    onError: (_path, err) => {
      events.failedUnexpectedly(err);
    },
  });
}

async function pageRoutes({ engine, events }: CompanionListenerParts): Promise<readonly HttpRoute[]> {
  const { watch, agents, heartbeat, brakes, notes, deps, witnesses } = engine;
  const { clock, store, replica } = deps;
  const { search } = witnesses;
  return fleetRoutes({
    clock,
    html: await readPage(),
    fleet: new FleetFeed({ clock, events, store, watch, agents, heartbeat, brakes, notes, search, replica }),
  });
}

/** Beside the bundle it has no folder of its own. */
async function readPage(): Promise<string> {
  const folder = import.meta.dirname;
  const beside = readFile(join(folder, 'fleet.html'), 'utf8');
  return beside.catch(() => readFile(join(folder, '..', 'page', 'fleet.html'), 'utf8'));
}

/** Reasons for `/readyz` to fail. An unavailable store is not one of them: agents attach anyway. */
function unreadiness(engine: Engine): readonly string[] {
  const { silentControlPlanes, liveInstances } = engine.watch.surroundings;
  return liveInstances.size === 0 ? [`none of ${silentControlPlanes} control planes answers`] : [];
}
