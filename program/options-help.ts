import { environmentName, type OptionTable } from '../kernel/options.ts';

/** `--help` of one command. Each option ends with its environment variable. */
export function optionsHelp(
  command: { readonly program: string; readonly command: string; readonly envPrefix: string },
  table: OptionTable,
): string {
  const lines = Object.values(table).map((spec) => {
    const flag = spec.placeholder === undefined ? `--${spec.flag}` : `--${spec.flag} ${spec.placeholder}`;
    const fallback = spec.defaultText === '' ? '' : ` [default: ${spec.defaultText}]`;
    return `  ${flag}\n      ${spec.help}${fallback} (${environmentName(command.envPrefix, spec.flag)})`;
  });
  const title = `Options of ${command.program} ${command.command}`;
  return `${title}:\n\n${lines.join('\n')}\n\nA flag wins over its environment variable.\n`;
}
