import type { Command } from '../../kernel/commands.ts';
import { environmentName } from '../../kernel/options.ts';
import { wrapped } from '../../kernel/wrapped-text.ts';

const WIDTH = 100;

/**
 * `/etc/default/NAME`: every variable that the service's command knows, commented out, with its default.
 *
 * @param intro sentences that come first
 */
export function environmentFile(envPrefix: string, { options }: Command, intro: string): string {
  const settings = Object.values(options).map(({ flag, help, defaultText, placeholder, repeatable }) => {
    const plain = /^\S*$/.test(defaultText) && !defaultText.includes('<');
    const explained = [
      `${help}.`,
      plain || defaultText === '' ? '' : ` Default: ${defaultText}.`,
      repeatable === true ? ' Several are separated by blanks or commas.' : '',
    ].join('');
    const example = plain && defaultText !== '' ? defaultText : placeholder === undefined ? 'true' : '';
    return `${comment(explained)}\n#${environmentName(envPrefix, flag)}=${example}\n`;
  });
  return `${comment(intro)}\n\n${settings.join('\n')}`;
}

function comment(text: string): string {
  return wrapped(text, WIDTH, '# ').join('\n');
}
