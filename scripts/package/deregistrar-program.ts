import { DEREGISTRAR_WORDS } from '../../control-plane/command-table.ts';
import type { ManualProgram } from './manual-page.ts';

export const DEREGISTRAR_PROGRAM: ManualProgram = {
  ...DEREGISTRAR_WORDS,
  description: [
    'kuma-deregistrar runs beside a zone control plane of Kuma and talks to its REST API on loopback. Agents (kuma-dp-agent) attach to it with the dataplane token that they already have. It deletes the object of each agent that stops or falls silent, and offline objects without an agent. It never deletes a living dataplane, and names the guard that holds a deletion back.',
    "There is nothing to configure: it shows agents the control plane's own certificate, checks tokens with the control plane's own keys, and keeps its state in an SQLite file. Several replicas share a PostgreSQL database.",
  ],
  sections: [
    {
      title: 'SIGNALS',
      entries: [
        [
          'SIGTERM, SIGINT',
          'Redirects the agents to other replicas and ends. A second signal ends it at once and loses nothing.',
        ],
      ],
    },
    {
      title: 'EXIT STATUS',
      entries: [
        ['0', 'Done.'],
        ['1', 'doctor: warnings.'],
        ['2', 'doctor: failures.'],
        ['69', 'Not done, or a prerequisite is missing (EX_UNAVAILABLE).'],
        ['78', 'The options are wrong (EX_CONFIG).'],
      ],
    },
    {
      title: 'FILES',
      entries: [
        ['/etc/default/kuma-deregistrar', 'Environment of kuma-deregistrar.service.'],
        [
          '/usr/lib/systemd/system/kuma-deregistrar.service',
          'The unit; one in /etc/systemd/system replaces it.',
        ],
        ['/var/lib/kuma-deregistrar/state.db', 'The state; removed when the package is purged.'],
        ['/run/kuma-deregistrar/admin.sock', 'For status, sweep, undo and brake.'],
        ['/usr/share/doc/kuma-deregistrar', 'Licences and a list (CycloneDX) of everything that is bundled.'],
      ],
    },
    { title: 'SEE ALSO', text: ['kuma-dp-agent(1), systemctl(1), systemd.service(5)'] },
  ],
};
