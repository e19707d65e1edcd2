import {
  choiceOption,
  durationOption,
  durationOrWordOption,
  listOption,
  pathOption,
  resolveConflict,
  resolveOptions,
  switchOption,
  textOption,
  type OptionTable,
  type OptionValues,
  type ResolvedOptions,
} from '../kernel/options.ts';
import { LOG_FORMATS } from '../kernel/log.ts';
import { METRICS_OPTIONS, withMetrics } from './metrics/metrics-options.pure.ts';
import { isCompanion, readEndpointUrl } from './object/endpoint-url.pure.ts';

export const ENV_PREFIX = 'KUMA_DP_AGENT_';

const endpoints = listOption<URL>({
  flag: 'endpoint',
  placeholder: 'URL',
  derived: "https://<host of kuma-dp's --cp-address>:5682",
  help: "Where to deregister: http(s):// is Kuma's REST API, grpcs:// a companion (grpc:// on loopback only). Repeatable; the agent tries companions first, then the others in order, and goes to the next one when one is slow",
  item: readEndpointUrl,
});

/** How an endpoint is reached: shared by every command that talks to one. */
const CONNECTION_OPTIONS = {
  endpoints,
  caFile: textOption({
    flag: 'ca-file',
    placeholder: 'FILE',
    derived: "kuma-dp's CA, otherwise the system's",
    help: 'PEM CA certificates that verify an https:// or grpcs:// endpoint',
  }),
  clientCertificateFile: textOption({
    flag: 'client-cert-file',
    placeholder: 'FILE',
    help: 'PEM certificate to present to an endpoint that asks for one',
  }),
  clientKeyFile: textOption({
    flag: 'client-key-file',
    placeholder: 'FILE',
    help: 'PEM key of --client-cert-file',
  }),
  userTokenFile: textOption({
    flag: 'user-token-file',
    placeholder: 'FILE',
    help: 'A Kuma user token for the REST API; open-source Kuma needs none to delete a dataplane',
  }),
  logLevel: choiceOption({
    flag: 'log-level',
    choices: ['debug', 'info', 'warn', 'error'],
    default: 'info',
    help: 'Lowest level of the log lines on standard error',
  }),
  logFormat: choiceOption({
    flag: 'log-format',
    choices: LOG_FORMATS,
    default: 'auto',
    help: 'Lines for people, or JSON lines for programs; auto: text in the journal and on a terminal, JSON elsewhere',
  }),
} as const;

const stateDir = pathOption({
  flag: 'state-dir',
  placeholder: 'DIR',
  default: '/run/kuma-dp-agent',
  help: "Directory of the state files, from which a killed agent's stop is finished",
});

const reportFile = textOption({
  flag: 'report-file',
  placeholder: 'FILE',
  help: 'Append the stop report here as well; rotated to FILE.1 at 1 MiB',
});

export const RUN_OPTIONS = {
  ...CONNECTION_OPTIONS,
  lifecycle: choiceOption({
    flag: 'lifecycle',
    choices: ['auto', 'cp', 'agent', 'external'],
    default: 'auto',
    help: 'Who owns the Dataplane object: the control plane, the agent, or the operator (external); auto: external for --name/--mesh, agent where a companion answers, otherwise cp',
  }),
  stopBudgetMs: durationOption({
    flag: 'stop-budget',
    default: '60s',
    min: '1s',
    help: "Maximum duration of a stop; keep it below the supervisor's own limit (systemd: TimeoutStopSec)",
  }),
  settle: durationOrWordOption({
    flag: 'settle',
    words: ['auto'],
    default: 'auto',
    help: "How long Envoy keeps serving after the object is deleted; auto: the control plane's own intervals",
  }),
  outboundHold: durationOrWordOption({
    flag: 'outbound-hold',
    words: ['auto'],
    default: 'auto',
    help: "How long Envoy keeps serving an application that may still call others; auto: until the application ends, at most kuma-dp's drain time; 0s: wait for requests in progress only, for restarts of the proxy alone without systemd",
  }),
  externalDrain: durationOrWordOption({
    flag: 'external-drain',
    words: ['auto'],
    default: 'auto',
    help: "How long Envoy keeps serving, not ready, for clients outside the mesh: a load balancer's interval times its threshold; auto: kuma-dp's drain time for builtin gateways and zone ingresses, otherwise 0s",
  }),
  onCrash: choiceOption({
    flag: 'on-crash',
    choices: ['deregister', 'keep'],
    default: 'deregister',
    help: 'What to do with the object when kuma-dp ends by itself',
  }),
  restartPacing: choiceOption({
    flag: 'restart-pacing',
    choices: ['auto', 'off'],
    default: 'auto',
    help: 'Wait before a start until the control plane accepts the name again',
  }),
  deleteExternal: switchOption({
    flag: 'delete-external',
    help: 'Also delete an object that the operator applied (--name/--mesh)',
  }),
  requireIdentity: switchOption({
    flag: 'require-identity',
    help: 'Do not start kuma-dp if the agent cannot derive which dataplane it is',
  }),
  witness: choiceOption({
    flag: 'witness',
    choices: ['on', 'off'],
    default: 'on',
    help: 'Check for the companion whether this host can still connect to a dataplane whose agent was lost',
  }),
  onReady: textOption({
    flag: 'on-ready',
    placeholder: 'CMD',
    help: 'Shell command, run once Envoy serves; its output goes to the log, and its failure changes nothing',
  }),
  onLeave: textOption({
    flag: 'on-leave',
    placeholder: 'CMD',
    help: 'Shell command, run when a stop begins, beside the deregistration; Envoy keeps serving until it has ended, for a quarter of the stop budget at most',
  }),
  onDrained: textOption({
    flag: 'on-drained',
    placeholder: 'CMD',
    help: 'Shell command, run after the drain, while kuma-dp ends; the agent waits for it, for a quarter of the stop budget at most',
  }),
  stateDir,
  reportFile,
  ...METRICS_OPTIONS,
} as const;

export const DEREGISTER_OPTIONS = {
  ...CONNECTION_OPTIONS,
  state: textOption({
    flag: 'state',
    placeholder: 'FILE|DIR',
    help: 'State file of a killed agent, or the folder of such files; the endpoints in the file apply',
  }),
  dataplaneTokenFile: textOption({
    flag: 'dataplane-token-file',
    placeholder: 'FILE',
    derived: 'from the state file',
    help: 'The dataplane token of kuma-dp; a companion requires it',
  }),
  mesh: textOption({ flag: 'mesh', placeholder: 'MESH', help: 'The mesh of the dataplane' }),
  name: textOption({ flag: 'name', placeholder: 'NAME', help: 'The name of the dataplane' }),
  proxyType: choiceOption({
    flag: 'proxy-type',
    choices: ['dataplane', 'ingress', 'egress'],
    default: 'dataplane',
    help: 'Zone proxies, up to Kuma 2.14, are in no mesh',
  }),
  timeoutMs: durationOption({ flag: 'timeout', default: '5s', min: '100ms', help: 'All attempts together' }),
} as const;

/** The options of `run`, which doctor examines; without a command, the running agent's own apply. */
export const DOCTOR_OPTIONS = {
  ...RUN_OPTIONS,
  unit: textOption({
    flag: 'unit',
    placeholder: 'NAME',
    derived: "the running agent's",
    help: 'The systemd unit that runs the dataplane',
  }),
  supervisorTimeoutMs: durationOrWordOption({
    flag: 'supervisor-timeout',
    words: ['none'],
    default: 'none',
    help: 'How long the supervisor waits before it kills the agent: Docker 10s, Kubernetes and ECS 30s, spot notice 30s to 120s',
  }),
  json: switchOption({ flag: 'json', help: 'The findings as JSON' }),
} as const;

export type DoctorOptions = OptionValues<typeof DOCTOR_OPTIONS>;
/** `drain` and `resume`. */
export const ROTATE_OPTIONS = {
  stateDir,
  state: textOption({
    flag: 'state',
    placeholder: 'FILE',
    derived: 'the only one in --state-dir',
    help: 'The state file of the agent to ask',
  }),
  mesh: textOption({ flag: 'mesh', placeholder: 'MESH', help: 'Which one, if the host has several' }),
  name: textOption({ flag: 'name', placeholder: 'NAME', help: 'Which one, if the host has several' }),
  wait: switchOption({
    flag: 'wait',
    help: 'Return once peers have dropped the endpoint, or use it again; a drain also waits for the last request',
  }),
  timeoutMs: durationOption({
    flag: 'timeout',
    default: '60s',
    min: '100ms',
    max: '1h',
    help: 'How long to wait; the agent keeps trying after that',
  }),
} as const;

const json = switchOption({ flag: 'json', help: 'One JSON document instead of text' });

export const STATUS_OPTIONS = { stateDir, json } as const;
export const REPORT_OPTIONS = { reportFile, json } as const;

export type RotateOptions = OptionValues<typeof ROTATE_OPTIONS>;
export type StatusOptions = OptionValues<typeof STATUS_OPTIONS>;
export type ReportOptions = OptionValues<typeof REPORT_OPTIONS>;
export type RunOptions = OptionValues<typeof RUN_OPTIONS>;
export type DeregisterOptions = OptionValues<typeof DEREGISTER_OPTIONS>;
export type ConnectionOptions = OptionValues<typeof CONNECTION_OPTIONS>;

type AgentSources = Omit<Parameters<typeof resolveOptions>[1], 'envPrefix' | 'lenient'>;

export function resolveRunOptions(sources: AgentSources): ResolvedOptions<typeof RUN_OPTIONS> {
  const resolved = withMetrics(RUN_OPTIONS, withConnection(RUN_OPTIONS, resolve(RUN_OPTIONS, sources)));
  const { lifecycle, deleteExternal } = resolved.values;
  if (lifecycle !== 'agent' || !deleteExternal) return resolved;
  return resolveConflict(RUN_OPTIONS, resolved, {
    keys: ['lifecycle', 'deleteExternal'],
    problem:
      '--lifecycle agent (KUMA_DP_AGENT_LIFECYCLE) and --delete-external (KUMA_DP_AGENT_DELETE_EXTERNAL) contradict each other: either the agent or the operator owns the object',
  });
}

export function resolveDoctorOptions(sources: AgentSources): ResolvedOptions<typeof DOCTOR_OPTIONS> {
  return withMetrics(DOCTOR_OPTIONS, withConnection(DOCTOR_OPTIONS, resolve(DOCTOR_OPTIONS, sources)));
}

export type ResolvedDeregisterOptions = ResolvedOptions<typeof DEREGISTER_OPTIONS>;

export function resolveDeregisterOptions(sources: AgentSources): ResolvedDeregisterOptions {
  const resolved = withConnection(DEREGISTER_OPTIONS, resolve(DEREGISTER_OPTIONS, sources));
  const { state, name, mesh, proxyType } = resolved.values;
  const problems = [...resolved.problems];
  if (state !== undefined && (name !== undefined || mesh !== undefined)) {
    problems.push('--state and --mesh/--name exclude each other: the file says which dataplane it is');
  } else if (
    state === undefined &&
    (name === undefined || (proxyType === 'dataplane' && mesh === undefined))
  ) {
    problems.push('name the dataplane: --state FILE, or --mesh MESH and --name NAME');
  }
  if (state === undefined && resolved.values.endpoints.length === 0) {
    problems.push('--endpoint (KUMA_DP_AGENT_ENDPOINT): required without --state');
  }
  if (isOutOfReach(resolved.values)) {
    problems.push('--endpoint (KUMA_DP_AGENT_ENDPOINT): companions do not look after zone proxies');
  }
  return { ...resolved, problems };
}

export function resolveRotateOptions(sources: AgentSources): ResolvedOptions<typeof ROTATE_OPTIONS> {
  const resolved = resolve(ROTATE_OPTIONS, sources);
  const { state, name, mesh } = resolved.values;
  const both = state !== undefined && (name !== undefined || mesh !== undefined);
  const problem = '--state and --mesh/--name exclude each other: the file says which dataplane it is';
  return { ...resolved, problems: [...resolved.problems, ...(both ? [problem] : [])] };
}

export function resolveStatusOptions(sources: AgentSources): ResolvedOptions<typeof STATUS_OPTIONS> {
  return resolve(STATUS_OPTIONS, sources);
}

export function resolveReportOptions(sources: AgentSources): ResolvedOptions<typeof REPORT_OPTIONS> {
  return resolve(REPORT_OPTIONS, sources);
}

function isOutOfReach({ proxyType, endpoints: given }: DeregisterOptions): boolean {
  return proxyType !== 'dataplane' && given.length > 0 && given.every(isCompanion);
}

/**
 * A value in the environment, from a file of a unit or an image, reaches every host at once. It must keep no kuma-dp
 * from starting, and no stop from being finished.
 */
function resolve<Table extends OptionTable>(table: Table, sources: AgentSources): ResolvedOptions<Table> {
  return resolveOptions(table, { ...sources, envPrefix: ENV_PREFIX, lenient: true });
}

function withConnection<Table extends typeof CONNECTION_OPTIONS>(
  table: Table,
  resolved: ResolvedOptions<Table>,
): ResolvedOptions<Table> {
  const { clientCertificateFile, clientKeyFile }: ConnectionOptions = resolved.values;
  if ((clientCertificateFile === undefined) === (clientKeyFile === undefined)) return resolved;
  return resolveConflict(table, resolved, {
    keys: ['clientCertificateFile', 'clientKeyFile'],
    problem:
      '--client-cert-file (KUMA_DP_AGENT_CLIENT_CERT_FILE) and --client-key-file (KUMA_DP_AGENT_CLIENT_KEY_FILE) go together',
  });
}
