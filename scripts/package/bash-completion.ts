import type { Command, ProgramWords } from '../../kernel/commands.ts';
import type { OptionSpec } from '../../kernel/options.ts';
import { valuesOf, wrapsCommand } from './completion-values.ts';

/** Does not need the bash-completion package, but uses it behind `--` if it is loaded. */
export function bashCompletion({ name, commands: table }: ProgramWords): string {
  const commands = Object.entries(table);
  const completer = `_${name.replaceAll('-', '_')}`;
  return `# bash completion for ${name}                            -*- shell-script -*-

${completer}() {
  local command=\${COMP_WORDS[1]} current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD - 1]}
  local options='' words=''
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W '${commands.map(([command]) => command).join(' ')}' -- "$current")
    return
  fi
${wrappedCommand(commands)}  # "=" is a word of its own.
  if [[ $current == = ]]; then
    current=''
  elif [[ $previous == = ]]; then
    previous=\${COMP_WORDS[COMP_CWORD - 2]}
  fi
  case $command,$previous in
${commands.flatMap(([command, { options }]) => Object.values(options).flatMap((spec) => valueCase(command, spec))).join('\n')}
  esac
  case $command in
${commands.flatMap(optionsCase).join('\n')}
  esac
  mapfile -t COMPREPLY < <(compgen -W "$options $words" -- "$current")
}

complete -F ${completer} ${name}
`;
}

type NamedCommand = readonly [name: string, words: Command];

/** Behind `--` another program's command line follows. */
function wrappedCommand(commands: readonly NamedCommand[]): string {
  const names = commands.filter(([, words]) => wrapsCommand(words)).map(([name]) => name);
  if (names.length === 0) return '';
  return `  case $command in
    ${names.join(' | ')})
      local at
      for ((at = 2; at < COMP_CWORD; at++)); do
        [[ \${COMP_WORDS[at]} == -- ]] || continue
        if declare -F _command_offset >/dev/null; then
          _command_offset $((at + 1))
        elif ((at + 1 == COMP_CWORD)); then
          mapfile -t COMPREPLY < <(compgen -c -- "$current")
        else
          compopt -o filenames 2>/dev/null
          mapfile -t COMPREPLY < <(compgen -f -- "$current")
        fi
        return
      done
      ;;
  esac
`;
}

function valueCase(name: string, spec: OptionSpec<unknown>): readonly string[] {
  if (spec.placeholder === undefined) return [];
  const { words, paths } = valuesOf(spec);
  const propose = [
    ...(words.length === 0 ? [] : [`compgen -W '${words.join(' ')}' -- "$current"`]),
    ...(paths === 'none' ? [] : [`compgen -${paths === 'files' ? 'f' : 'd'} -- "$current"`]),
  ];
  return [
    `    ${name},--${spec.flag})`,
    ...(paths === 'none' ? [] : ['      compopt -o filenames 2>/dev/null']),
    ...(propose.length === 0 ? [] : [`      mapfile -t COMPREPLY < <(${propose.join('; ')})`]),
    '      return',
    '      ;;',
  ];
}

function optionsCase([name, command]: NamedCommand): readonly string[] {
  const { options: table, completes } = command;
  const flags = Object.values(table).map(({ flag }) => `--${flag}`);
  const options = [...flags, ...(flags.length === 0 ? [] : ['--help'])].join(' ');
  const words = Array.isArray(completes) ? completes.join(' ') : wrapsCommand(command) ? '--' : '';
  return [
    `    ${name})`,
    ...(completes === 'files'
      ? [
          '      if [[ $current != -* ]]; then',
          '        compopt -o filenames 2>/dev/null',
          '        mapfile -t COMPREPLY < <(compgen -f -- "$current")',
          '        return',
          '      fi',
        ]
      : []),
    ...(options === '' ? [] : [`      options='${options}'`]),
    ...(words === '' ? [] : [`      words='${words}'`]),
    '      ;;',
  ];
}
