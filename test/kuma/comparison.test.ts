import { describe } from 'vitest';

import { compareStarts, compareStops, compareZones } from '../support/comparison/compare.ts';
import { REPEATED_STARTS } from '../support/comparison/start-scenarios.ts';
import { GATEWAYS, INBOUND, OUTBOUND, FAULTS } from '../support/comparison/stop-scenarios.ts';
import { ZONES } from '../support/comparison/zone-scenario.ts';
import { realKumaMissing, realKumas } from '../support/kuma-worlds/worlds.ts';

// On the emulator they are in test/comparison.
describe.skipIf(realKumaMissing !== undefined)('stops alone and with the agent', () => {
  compareStops([...INBOUND, ...OUTBOUND, ...GATEWAYS, ...FAULTS], realKumas);
  compareZones(ZONES, realKumas);
  compareStarts(REPEATED_STARTS, realKumas);
});
