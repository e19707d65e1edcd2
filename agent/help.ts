import { environmentName, type OptionTable } from '../kernel/options.ts';
import { ENV_PREFIX } from './options.ts';

export const USAGE = `Takes a Kuma Universal dataplane out of the mesh on purpose: deregister, settle, drain, exit.

Usage:
  kuma-dp-agent run [options] -- kuma-dp run [kuma-dp's own options]
  kuma-dp-agent deregister [options] (--state FILE | --mesh MESH --name NAME)
  kuma-dp-agent plan [options] -- kuma-dp run [kuma-dp's own options]
  kuma-dp-agent version

Options of a command: kuma-dp-agent COMMAND --help
`;

/** `--help` of one command. Each option ends with its environment variable. */
export function optionsHelp(command: string, table: OptionTable): string {
  const lines = Object.values(table).map((spec) => {
    const flag = spec.placeholder === undefined ? `--${spec.flag}` : `--${spec.flag} ${spec.placeholder}`;
    const fallback = spec.defaultText === '' ? '' : ` [default: ${spec.defaultText}]`;
    return `  ${flag}\n      ${spec.help}${fallback} (${environmentName(ENV_PREFIX, spec.flag)})`;
  });
  return `Options of kuma-dp-agent ${command}:\n\n${lines.join('\n')}\n\nA flag wins over its environment variable.\n`;
}
