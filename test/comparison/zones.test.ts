import { compareZones } from '../support/comparison/compare.ts';
import { ZONES } from '../support/comparison/zone-scenario.ts';
import { kumaEmulated } from '../support/kuma-worlds/worlds.ts';

compareZones(ZONES, [kumaEmulated]);
