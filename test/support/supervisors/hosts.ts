import { afterAll, beforeAll } from 'vitest';

import { ControlPlane } from '../kuma/control-plane.ts';
import { DataplaneHost, disposeOfLeftHosts, type SupervisedHostOptions } from './dataplane-host.ts';

/**
 * For the top of a test file: a control plane for all its tests. @returns a function that makes a host for one of
 * them
 */
export function hostsOfThisFile(): (options?: Partial<SupervisedHostOptions>) => Promise<DataplaneHost> {
  let controlPlane: ControlPlane;

  beforeAll(async () => {
    controlPlane = await ControlPlane.start({ deregistrationDelayMs: 500 });
  });

  afterAll(async () => {
    await disposeOfLeftHosts();
    await controlPlane[Symbol.asyncDispose]();
  });

  return (options = {}) => DataplaneHost.create({ controlPlane, ...options });
}
