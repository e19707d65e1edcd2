import { choiceOption, listOption, type OptionReading } from '../kernel/options.ts';
import { parseNetwork, type Network } from './witness/networks.pure.ts';

/** Options for lost hosts. */
export const WITNESS_OPTIONS = {
  witness: choiceOption({
    flag: 'witness',
    choices: ['on', 'off'],
    default: 'on',
    help: 'Take a dataplane out of rotation within seconds when its agent is lost and no other agent can connect to it. off: put sidelined dataplanes back',
  }),
  witnessNetworks: listOption<Network>({
    flag: 'witness-networks',
    placeholder: 'CIDR',
    derived: 'only the address from which an agent attaches',
    help: 'Other networks whose addresses agents may be asked to connect to; needed where agents attach through NAT or a proxy',
    item: readNetwork,
  }),
} as const;

function readNetwork(text: string): OptionReading<Network> {
  const network = parseNetwork(text);
  return network === undefined ? { problem: 'expected a network such as "10.0.0.0/8"' } : { value: network };
}
