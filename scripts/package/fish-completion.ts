import type { Command, ProgramWords } from '../../kernel/commands.ts';
import { valuesOf, wrapsCommand } from './completion-values.ts';

export function fishCompletion({ name, commands: table }: ProgramWords): string {
  const commands = Object.entries(table);
  const complete = (condition: string, rest: string): string =>
    `complete -c ${name} -n ${quote(condition)} ${rest}`;
  const wrapping = commands.filter(([, words]) => wrapsCommand(words));
  return `${[
    `# fish completion for ${name}`,
    `complete -c ${name} -f`,
    ...commands.map(([command, { says }]) =>
      complete('__fish_use_subcommand', `-a ${command} -d ${quote(says)}`),
    ),
    ...commands.flatMap(([command, words]) =>
      [...optionLines(words), ...operandLines(words)].map((line) => complete(inside(command), line)),
    ),
    // Behind "--" it is another program's command line.
    ...(wrapping.length === 0 ? [] : [complete('contains -- -- (commandline -opc)', '-F')]),
  ].join('\n')}\n`;
}

function inside(name: string): string {
  return `__fish_seen_subcommand_from ${name}; and not contains -- -- (commandline -opc)`;
}

function optionLines({ options }: Command): readonly string[] {
  return Object.values(options).map((spec) => {
    const { words, paths } = valuesOf(spec);
    const value =
      spec.placeholder === undefined
        ? ''
        : paths === 'none'
          ? `-x ${words.length === 0 ? '' : `-a ${quote(words.join(' '))} `}`
          : `-r -F ${words.length === 0 ? '' : `-a ${quote(words.join(' '))} `}`;
    return `-l ${spec.flag} ${value}-d ${quote(spec.help)}`;
  });
}

function operandLines({ completes }: Command): readonly string[] {
  if (completes === 'files') return ['-F'];
  return Array.isArray(completes) ? [`-a ${quote(completes.join(' '))}`] : [];
}

function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
