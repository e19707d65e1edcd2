import { valuesOf } from './completion-values.ts';
import type { Command, Program } from './program.ts';

export function fishCompletion({ name, commands }: Program): string {
  const complete = (condition: string, rest: string): string =>
    `complete -c ${name} -n ${quote(condition)} ${rest}`;
  const wrapping = commands.filter(({ completes }) => completes === 'command');
  return `${[
    `# fish completion for ${name}`,
    `complete -c ${name} -f`,
    ...commands.map((command) =>
      complete('__fish_use_subcommand', `-a ${command.name} -d ${quote(command.says)}`),
    ),
    ...commands.flatMap((command) => optionLines(command).map((line) => complete(inside(command), line))),
    ...commands.flatMap((command) => operandLines(command).map((line) => complete(inside(command), line))),
    // Behind "--" it is another program's command line.
    ...(wrapping.length === 0 ? [] : [complete('contains -- -- (commandline -opc)', '-F')]),
  ].join('\n')}\n`;
}

function inside({ name }: Command): string {
  return `__fish_seen_subcommand_from ${name}; and not contains -- -- (commandline -opc)`;
}

function optionLines({ table }: Command): readonly string[] {
  return Object.values(table).map((spec) => {
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
