import { compareStarts } from '../support/comparison/compare.ts';
import { BROKEN_STOPS, STARTS } from '../support/comparison/start-scenarios.ts';
import { kumaEmulated } from '../support/kuma-worlds/worlds.ts';

compareStarts([...STARTS, ...BROKEN_STOPS], [kumaEmulated]);
