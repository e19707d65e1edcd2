import { compareStops } from '../support/comparison/compare.ts';
import { FAULTS } from '../support/comparison/stop-scenarios.ts';
import { kumaEmulated } from '../support/kuma-worlds/worlds.ts';

compareStops(FAULTS, [kumaEmulated]);
