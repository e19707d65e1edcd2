import { switchOption } from '../kernel/options.ts';
import { ADMIN_OPTIONS } from './options.ts';

export const UNDO_OPTIONS = {
  ...ADMIN_OPTIONS,
  all: switchOption({
    flag: 'all',
    help: 'Put back every dataplane that is out of rotation, before the companion is removed',
  }),
} as const;
