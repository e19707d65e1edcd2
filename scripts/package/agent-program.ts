import { AGENT_WORDS } from '../../agent/command-table.ts';
import type { Program } from './manual-page.ts';

export const AGENT_PROGRAM: Program = {
  ...AGENT_WORDS,
  description: [
    'kuma-dp-agent goes in front of "kuma-dp run". When the host stops the dataplane, the agent deletes its object at the control plane first (deregister), lets Envoy serve on until the peers have let go (settle), tells kuma-dp to stop and waits for the last request (drain), and ends exactly as kuma-dp did (exit). At last it looks whether the object was created again meanwhile (confirm). All of it fits into one budget.',
    'There is nothing to configure: mesh, name, token, CA and control plane are derived from the command that is already there.',
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
        ['1', 'Not done; plan, doctor: warnings; status: a dataplane was lost or cannot be asked.'],
        ['2', 'plan, doctor: failures.'],
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
    { title: 'SEE ALSO', text: ['kuma-deregistrar(8), systemctl(1), systemd.service(5)'] },
  ],
};
