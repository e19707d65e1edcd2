import { choiceOption, listOption, type OptionReading } from '../kernel/options.ts';
import { parseNetwork, type Network } from './witness/networks.pure.ts';

/** What a companion does about a host that is lost. */
export const WITNESS_OPTIONS = {
  witness: choiceOption({
    flag: 'witness',
    choices: ['on', 'off'],
    default: 'on',
    help: 'Take a dataplane whose agent was lost out of rotation within seconds if no other agent can connect to it. off: put back what was taken out',
  }),
  witnessNetworks: listOption<Network>({
    flag: 'witness-networks',
    placeholder: 'CIDR',
    derived: 'only the address that an agent attaches from',
    help: 'Other networks whose addresses agents may be asked to connect to; needed where agents attach through NAT or a proxy',
    item: readNetwork,
  }),
} as const;

function readNetwork(text: string): OptionReading<Network> {
  const network = parseNetwork(text);
  return network === undefined ? { problem: 'expected a network such as "10.0.0.0/8"' } : { value: network };
}
