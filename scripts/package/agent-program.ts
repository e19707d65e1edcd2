import { AGENT_WORDS } from '../../agent/command-table.ts';
import type { ManualProgram } from './manual-page.ts';

export const AGENT_PROGRAM: ManualProgram = {
  ...AGENT_WORDS,
  description: [
    'kuma-dp-agent wraps "kuma-dp run". When the host stops the dataplane, the agent first deletes its object at the control plane (deregister). Envoy keeps serving until the peers have dropped the endpoint (settle). Then the agent tells kuma-dp to stop, waits for the last request (drain), and ends exactly as kuma-dp did (exit). Finally it checks that the object is still gone (confirm). All steps fit into one budget.',
    'There is nothing to configure: the agent derives mesh, name, token, CA and control plane from the wrapped command.',
  ],
  sections: [
    {
      title: 'SIGNALS',
      entries: [
        [
          'SIGTERM, SIGINT, SIGHUP',
          'The first begins a stop, a second skips its waits, a third kills kuma-dp.',
        ],
        ['SIGUSR2', 'Deregisters, then forwards it: kuma-dp drains and stays.'],
        ['others', 'Are forwarded to kuma-dp.'],
      ],
    },
    {
      title: 'EXIT STATUS',
      entries: [
        ['run', "As kuma-dp's: its code, or its signal."],
        ['0', 'Done, or nothing to do.'],
        ['1', 'Not done; plan, doctor: warnings; status: a dataplane was lost or does not answer.'],
        ['2', 'plan, doctor: failures.'],
        ['78', 'The options are wrong (EX_CONFIG).'],
        ['126, 127', 'run: kuma-dp may not be executed; does not exist.'],
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
        ['/usr/lib/systemd/system/kuma-dp.service', 'The unit; one in /etc/systemd/system replaces it.'],
        [
          '/run/kuma-dp-agent',
          "A run's state, with which its stop is finished if the agent dies, and its control socket.",
        ],
        [
          '/usr/share/doc/kuma-dp-agent',
          'Licences and a list (CycloneDX) of everything that is bundled; examples.',
        ],
      ],
    },
    { title: 'SEE ALSO', text: ['kuma-deregistrar(8), systemctl(1), systemd.service(5)'] },
  ],
};
