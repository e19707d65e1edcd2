import type { Command, ProgramWords } from '../../kernel/commands.ts';
import type { OptionSpec } from '../../kernel/options.ts';
import { valuesOf, wrapsCommand } from './completion-values.ts';

/** A function of zsh's own completion system, which finds it by the name of its file. */
export function zshCompletion({ name, commands: table }: ProgramWords): string {
  const commands = Object.entries(table);
  return `#compdef ${name}
# zsh completion for ${name}

local curcontext=$curcontext state line
local -a commands=(
${commands.map(([command, { says }]) => `  ${quoted(`${command}:${says}`)}`).join('\n')}
)

_arguments -C '1: :->command' '*:: :->rest' && return
case $state in
command)
  _describe -t commands command commands
  return
  ;;
esac
${wrappedCommand(commands)}case $words[1] in
${commands.flatMap(([command, words]) => argumentsCase(command, words)).join('\n')}
esac
`;
}

/** Behind \`--\` it is another program's command line. */
function wrappedCommand(commands: readonly (readonly [name: string, words: Command])[]): string {
  const names = commands.filter(([, words]) => wrapsCommand(words)).map(([name]) => name);
  if (names.length === 0) return '';
  return `case $words[1] in
${names.join('|')})
  local -i at=\${words[(i)--]}
  if (( at < CURRENT )); then
    shift $at words
    (( CURRENT -= at ))
    _normal
    return
  fi
  ;;
esac
`;
}

function argumentsCase(name: string, command: Command): readonly string[] {
  const specs = Object.values(command.options).map(optionSpec);
  const operand = operandSpec(command);
  const all = [...specs, ...(specs.length === 0 ? [] : ["'--help[shows its options]'"]), ...operand];
  return all.length === 0 ? [] : [`${name})`, `  _arguments \\\n    ${all.join(' \\\n    ')}`, '  ;;'];
}

function optionSpec(spec: OptionSpec<unknown>): string {
  const repeated = spec.repeatable === true ? '*' : '';
  const help = spec.help.replaceAll('[', '(').replaceAll(']', ')');
  if (spec.placeholder === undefined) return quoted(`${repeated}--${spec.flag}[${help}]`);
  const { words, paths } = valuesOf(spec);
  const proposes =
    paths === 'none'
      ? words.length === 0
        ? ' '
        : `(${words.join(' ')})`
      : paths === 'files'
        ? '_files'
        : '_files -/';
  return quoted(`${repeated}--${spec.flag}=[${help}]:${spec.placeholder.replaceAll(':', '\\:')}:${proposes}`);
}

function operandSpec(command: Command): readonly string[] {
  const { completes } = command;
  if (wrapsCommand(command)) return ["'1:the command to wrap:(--)'"];
  if (completes === 'files') return ["'1:file:_files'"];
  return completes === undefined ? [] : [quoted(`1:word:(${completes.join(' ')})`)];
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
