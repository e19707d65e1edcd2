import type { Command } from '../../kernel/commands.ts';
import type { OptionSpec } from '../../kernel/options.ts';

/** What a shell can propose as the value of an option. */
export interface Values {
  readonly words: readonly string[];
  readonly paths: 'files' | 'folders' | 'none';
}

/** From the placeholder, which is made of the words themselves and of names in capitals: `DURATION|auto`. */
export function valuesOf({ placeholder = '' }: OptionSpec<unknown>): Values {
  const parts = placeholder.split('|');
  const folders = parts.includes('DIR');
  const files = parts.includes('FILE') || parts.includes('PATH');
  return {
    words: parts.filter((part) => /^[a-z0-9]+%?$/.test(part)),
    paths: files ? 'files' : folders ? 'folders' : 'none',
  };
}

/** Whether another program's command line follows behind `--`. */
export function wrapsCommand({ takes }: Command): boolean {
  return takes === 'command' || takes === 'command or nothing';
}
