import { versionCommand, type CommandTable, type ProgramWords } from '../kernel/commands.ts';
import { ADMIN_OPTIONS, BRAKE_OPTIONS, ENV_PREFIX, SERVE_OPTIONS, SWEEP_OPTIONS } from './options.ts';
import { UNDO_OPTIONS } from './undo-options.ts';

const COMMANDS = {
  serve: {
    options: SERVE_OPTIONS,
    operands: '',
    takes: 'nothing',
    says: 'Serves agents until it is told to stop.',
    more: 'At SIGTERM it redirects its agents to other replicas and ends. A second signal ends it at once; no departure is lost.',
    example: 'serve --store /var/lib/kuma-deregistrar/state.db --kuma-api http://127.0.0.1:5681',
    page: 'serve-doctor',
  },
  doctor: {
    options: SERVE_OPTIONS,
    operands: '',
    takes: 'nothing',
    says: 'Examines control planes, certificate, keys and store.',
    more: 'It takes the options of serve and changes nothing. Exit status: 0 for nothing to do, 1 for warnings, 2 for failures.',
    example: 'doctor --kuma-api http://127.0.0.1:5681',
    page: 'serve-doctor',
  },
  status: {
    options: ADMIN_OPTIONS,
    operands: '',
    takes: 'nothing',
    says: 'Shows who is attached, leaving and held back, and the last departures.',
    more: 'It asks the companion on this host, through its admin socket.',
    example: 'status --json',
    page: 'status-undo',
  },
  sweep: {
    options: SWEEP_OPTIONS,
    operands: '',
    takes: 'nothing',
    says: 'Deletes offline dataplanes without an agent now.',
    more: 'With --dry-run it shows what it would delete, what it would keep and why.',
    example: 'sweep --dry-run',
    page: 'sweep',
  },
  undo: {
    options: UNDO_OPTIONS,
    operands: '[MESH/NAME]',
    takes: 'word',
    says: 'Puts a deleted object back; the companion keeps bodies for a day.',
    more: 'A dataplane that is out of rotation as lost goes back in. It never overwrites an object that exists.',
    example: 'undo default/web-1',
    page: 'status-undo',
  },
  brake: {
    options: BRAKE_OPTIONS,
    operands: '[release]',
    takes: 'word',
    says: 'Shows what the brake holds back; with release, lets it through.',
    more: 'A release ends after --for. Without --mesh it holds for every mesh.',
    example: 'brake release --mesh default --for 10m',
    page: 'brake',
    completes: ['release'],
  },
  version: versionCommand('kuma-deregistrar'),
} as const satisfies CommandTable;

export const DEREGISTRAR_WORDS = {
  name: 'kuma-deregistrar',
  section: '8',
  summary: 'finishes every departure of a Kuma dataplane',
  envPrefix: ENV_PREFIX,
  commands: COMMANDS,
} as const satisfies ProgramWords;
