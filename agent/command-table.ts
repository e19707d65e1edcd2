import { versionCommand, type CommandTable, type ProgramWords } from '../kernel/commands.ts';
import {
  DEREGISTER_OPTIONS,
  DOCTOR_OPTIONS,
  ENV_PREFIX,
  REPORT_OPTIONS,
  ROTATE_OPTIONS,
  RUN_OPTIONS,
  STATUS_OPTIONS,
} from './options.ts';

const WRAPPED = "-- kuma-dp run [kuma-dp's own options]";
const KUMA_DP =
  '-- kuma-dp run --cp-address=https://cp.example:5678 --dataplane-file=/etc/kuma-dp/dataplane.yaml --dataplane-token-file=/etc/kuma-dp/token';

const COMMANDS = {
  run: {
    options: RUN_OPTIONS,
    operands: WRAPPED,
    takes: 'command',
    says: 'Starts kuma-dp and supervises it until it ends.',
    more: 'At the first SIGTERM the agent deletes the Dataplane object, waits until peers have dropped the endpoint, drains Envoy, and exits as kuma-dp did.',
    example: `run ${KUMA_DP}`,
    page: 'run-plan',
  },
  plan: {
    options: RUN_OPTIONS,
    operands: WRAPPED,
    takes: 'command',
    says: 'Shows what a stop would do; starts and changes nothing.',
    more: 'Exit status: 0 if a stop works as shown, 1 for warnings, 2 if a stop would not deregister or something in front of kuma-dp breaks it.',
    example: `plan ${KUMA_DP}`,
    page: 'run-plan',
  },
  doctor: {
    options: DOCTOR_OPTIONS,
    operands: `[${WRAPPED}]`,
    takes: 'command or nothing',
    says: 'Finds what on this host would break a stop, with the remedy.',
    more: 'Without a command it examines the agent that runs. It changes nothing. Exit status: 0 for nothing to do, 1 for warnings, 2 for failures.',
    example: 'doctor --unit kuma-dp',
    page: 'doctor',
  },
  deregister: {
    options: DEREGISTER_OPTIONS,
    operands: '',
    takes: 'nothing',
    says: 'Deletes a dataplane, by name or by the state file of a killed agent.',
    more: 'It is idempotent. Name the dataplane by --state, or by --mesh and --name. Exit status: 0 if the object is gone, 1 if not.',
    example: 'deregister --state /run/kuma-dp-agent',
    page: 'deregister',
  },
  drain: {
    options: ROTATE_OPTIONS,
    operands: '',
    takes: 'nothing',
    says: 'Takes a running dataplane out of rotation; kuma-dp and Envoy keep running.',
    more: 'The peers stop sending new requests. The dataplane stays out until resume, or until the host boots.',
    example: 'drain --wait',
    page: 'drain-resume',
  },
  resume: {
    options: ROTATE_OPTIONS,
    operands: '',
    takes: 'nothing',
    says: 'Puts a drained dataplane back into rotation, as it was.',
    more: 'Each inbound gets the state that it had before the drain.',
    example: 'resume --wait',
    page: 'drain-resume',
  },
  status: {
    options: STATUS_OPTIONS,
    operands: '',
    takes: 'nothing',
    says: 'Shows every dataplane of this host, its endpoints and its last stop.',
    more: 'Exit status: 1 if an agent was lost, or does not answer.',
    example: 'status --json',
    page: 'status',
  },
  report: {
    options: REPORT_OPTIONS,
    operands: '[FILE]',
    takes: 'word',
    says: 'Draws the last stops of a report file as a timeline.',
    more: 'FILE is what run --report-file has written.',
    example: 'report /var/log/kuma-dp-agent/stops.jsonl',
    page: 'report',
    completes: 'files',
  },
  version: versionCommand('kuma-dp-agent'),
} as const satisfies CommandTable;

export const AGENT_WORDS = {
  name: 'kuma-dp-agent',
  section: '1',
  summary: 'takes a Kuma dataplane out of the mesh before it stops',
  envPrefix: ENV_PREFIX,
  commands: COMMANDS,
} as const satisfies ProgramWords;
