import {
  DEREGISTER_OPTIONS,
  DOCTOR_OPTIONS,
  ENV_PREFIX,
  REPORT_OPTIONS,
  ROTATE_OPTIONS,
  RUN_OPTIONS,
  STATUS_OPTIONS,
} from '../../agent/options.ts';
import type { Program } from './program.ts';

const WRAPPED = "-- kuma-dp run [kuma-dp's own options]";

export const AGENT_PROGRAM: Program = {
  name: 'kuma-dp-agent',
  section: '1',
  summary: 'takes a Kuma dataplane out of the mesh before it stops',
  description: [
    'kuma-dp-agent goes in front of "kuma-dp run". When the host stops the dataplane, the agent deletes its object at the control plane first (deregister), lets Envoy serve on until the peers have let go (settle), tells kuma-dp to stop and waits for the last request (drain), and ends exactly as kuma-dp did (exit). At last it looks whether the object was created again meanwhile (confirm). All of it fits into one budget.',
    'There is nothing to configure: mesh, name, token, CA and control plane are derived from the command that is already there.',
  ],
  envPrefix: ENV_PREFIX,
  commands: [
    {
      name: 'run',
      table: RUN_OPTIONS,
      operands: WRAPPED,
      says: 'Starts kuma-dp and looks after it until it has ended.',
      completes: 'command',
    },
    {
      name: 'deregister',
      table: DEREGISTER_OPTIONS,
      operands: '',
      says: 'Takes a dataplane away, by name or by what a killed agent left.',
    },
    {
      name: 'drain',
      table: ROTATE_OPTIONS,
      operands: '',
      says: 'Takes a running dataplane out of rotation while everything goes on.',
    },
    {
      name: 'resume',
      table: ROTATE_OPTIONS,
      operands: '',
      says: 'Puts a drained dataplane back as it was.',
    },
    { name: 'status', table: STATUS_OPTIONS, operands: '', says: 'Shows every dataplane of this host.' },
    {
      name: 'report',
      table: REPORT_OPTIONS,
      operands: '[FILE]',
      says: 'Draws the last stops as a timeline.',
      completes: 'files',
    },
    {
      name: 'plan',
      table: RUN_OPTIONS,
      operands: WRAPPED,
      says: 'Shows what a stop would do; starts and changes nothing.',
      completes: 'command',
    },
    {
      name: 'doctor',
      table: DOCTOR_OPTIONS,
      operands: `[${WRAPPED}]`,
      says: 'Says what on this host would break a stop, each with its remedy.',
      completes: 'command',
    },
    { name: 'version', table: {}, operands: '', says: 'Prints the version.' },
  ],
  sections: [
    {
      title: 'SIGNALS',
      entries: [
        [
          'SIGTERM, SIGINT, SIGHUP',
          'The first begins a stop, a second skips its waits, a third kills kuma-dp.',
        ],
        ['SIGUSR2', 'Deregisters, then passes it on: kuma-dp drains and stays.'],
        ['others', 'Are passed on to kuma-dp.'],
      ],
    },
    {
      title: 'EXIT STATUS',
      entries: [
        ['run', "As kuma-dp's: its code, or its signal."],
        ['0', 'Done, or nothing to do.'],
        ['1', 'Not done; doctor: warnings; status: a dataplane was lost or cannot be asked.'],
        ['2', 'doctor: failures.'],
        ['78', 'The options are wrong (EX_CONFIG).'],
        ['126, 127', 'run: kuma-dp may not be executed; is not there.'],
      ],
    },
    {
      title: 'FILES',
      entries: [
        [
          '/etc/default/kuma-dp-agent',
          "Environment of kuma-dp.service and kuma-dp@.service: the agent's variables.",
        ],
        ['/etc/default/kuma-dp', "Read before it by this package's units: kuma-dp's variables."],
        ['/etc/default/kuma-dp-NAME', 'Read after it, by kuma-dp@NAME.service.'],
        ['/usr/lib/systemd/system/kuma-dp.service', 'The unit; one in /etc/systemd/system wins over it.'],
        [
          '/run/kuma-dp-agent',
          "A run's state, from which its work is finished if it dies, and its control socket.",
        ],
        ['/usr/share/doc/kuma-dp-agent', 'Licences and a list (CycloneDX) of all that is bundled; examples.'],
      ],
    },
    {
      title: 'EXAMPLES',
      entries: [
        [
          'kuma-dp-agent plan -- kuma-dp run --cp-address=https://cp.example:5678 --dataplane-file=web.yaml',
          'What a stop would do.',
        ],
        ['kuma-dp-agent drain --wait', 'Out of rotation; returns when the last request is done.'],
        ['kuma-dp-agent doctor --unit kuma-dp', 'What would break a stop of that unit.'],
      ],
    },
    { title: 'SEE ALSO', text: ['kuma-deregistrar(8), systemctl(1), systemd.service(5)'] },
  ],
};
