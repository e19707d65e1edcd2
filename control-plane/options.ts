import { queryProblem } from '../kernel/endpoint-name.ts';
import {
  choiceOption,
  durationOption,
  durationOrWordOption,
  listOption,
  pathOption,
  resolveOptions,
  switchOption,
  textOption,
  valueOption,
  type OptionValues,
  type OptionReading,
  type ResolvedOptions,
} from '../kernel/options.ts';

import {
  formatListenerAddress,
  isLocal,
  parseListenerAddress,
  readListenerAddress,
  readListenerAddressOrOff,
  type ListenerAddress,
} from '../kernel/listener-address.ts';
import { LOG_FORMATS } from '../kernel/log.ts';
import { WITNESS_OPTIONS } from './witness-options.ts';
import { readPublicKeyOption, type PublicKeyFile } from './tokens/public-key-option.pure.ts';

export const ENV_PREFIX = 'KUMA_DEREGISTRAR_';

const logLevel = choiceOption({
  flag: 'log-level',
  choices: ['debug', 'info', 'warn', 'error'],
  default: 'info',
  help: 'Lowest level of the log lines on standard error',
});

const logFormat = choiceOption({
  flag: 'log-format',
  choices: LOG_FORMATS,
  default: 'auto',
  help: 'Lines for people, or JSON lines for programs; auto: text in the journal and on a terminal, JSON elsewhere',
});

const adminSocket = pathOption({
  flag: 'admin-socket',
  placeholder: 'PATH',
  default: '/run/kuma-deregistrar/admin.sock',
  help: 'Unix socket for status, sweep, undo and brake; every user who may open it may run them',
});

/** The ways to the zone's control planes. */
const KUMA_OPTIONS = {
  kumaApi: listOption<URL>({
    flag: 'kuma-api',
    placeholder: 'URL',
    derived: 'http://127.0.0.1:5681',
    help: 'REST API of a control plane of this zone. Name all of them: dataplanes at an unnamed one never count as offline',
    item: readHttpUrl,
  }),
  kumaCaFile: textOption({
    flag: 'kuma-ca-file',
    placeholder: 'FILE',
    derived: "the system's",
    help: 'PEM CA certificates that verify an https:// control plane',
  }),
  kumaClientCertificateFile: textOption({
    flag: 'kuma-client-cert-file',
    placeholder: 'FILE',
    help: 'PEM client certificate to show to an https:// control plane; read again when it changes',
  }),
  kumaClientKeyFile: textOption({
    flag: 'kuma-client-key-file',
    placeholder: 'FILE',
    help: 'PEM key of --kuma-client-cert-file',
  }),
  userTokenFile: textOption({
    flag: 'user-token-file',
    placeholder: 'FILE',
    help: 'A Kuma user token for the REST API; on loopback open-source Kuma grants admin rights without one',
  }),
} as const;

const CREDENTIAL_OPTIONS = {
  authn: choiceOption({
    flag: 'authn',
    choices: ['token', 'none'],
    default: 'token',
    help: 'Who may attach and deregister: holders of a dataplane token, or everybody (on loopback and Unix sockets only)',
  }),
  publicKeys: listOption<PublicKeyFile>({
    flag: 'public-key',
    placeholder: '[MESH/]KID=FILE',
    derived: "the control plane's own secrets",
    help: 'PEM public key that verifies dataplane tokens; from `kumactl generate public-key`',
    item: readPublicKeyOption,
  }),
  revocationsFile: textOption({
    flag: 'revocations-file',
    placeholder: 'FILE',
    derived: "the control plane's own secrets",
    help: 'Ids of revoked dataplane tokens, separated by commas',
  }),
} as const;

const LISTENER_OPTIONS = {
  listen: listOption<ListenerAddress>({
    flag: 'listen',
    placeholder: 'HOST:PORT|unix:PATH',
    derived: '0.0.0.0:5690',
    help: 'Where agents attach',
    item: readListenerAddress,
  }),
  tlsCertificateFile: textOption({
    flag: 'tls-cert-file',
    placeholder: 'FILE',
    derived: "the control plane's own",
    help: 'PEM certificate to show to agents; read again when it changes',
  }),
  tlsKeyFile: textOption({
    flag: 'tls-key-file',
    placeholder: 'FILE',
    derived: "the control plane's own",
    help: 'PEM key of --tls-cert-file',
  }),
  clientCaFile: textOption({
    flag: 'client-ca-file',
    placeholder: 'FILE',
    help: 'PEM CA certificates; agents must present a client certificate that one of them signed',
  }),
  plaintext: switchOption({
    flag: 'plaintext',
    help: 'No TLS on a loopback address; Unix sockets never have it',
  }),
  http: valueOption({
    flag: 'http',
    placeholder: 'HOST:PORT|unix:PATH|off',
    default: '127.0.0.1:5691',
    help: 'Where /livez, /readyz, /metrics and the fleet page are served; beyond loopback only with --http-token-file',
    read: readListenerAddressOrOff,
  }),
  httpTokenFile: textOption({
    flag: 'http-token-file',
    placeholder: 'FILE',
    help: 'Token (16 characters or more) that /metrics and the page require, as a Bearer token or once as ?token=; read again when it changes',
  }),
} as const;

const DECISION_OPTIONS = {
  graceMs: durationOption({
    flag: 'grace',
    default: '15s',
    min: '1s',
    help: 'Grace: how long an agent must be silent, and this program and a control plane up, before a deletion',
  }),
  pingIntervalMs: durationOption({
    flag: 'ping-interval',
    default: '60s',
    min: '1s',
    max: '1h',
    help: "How often the companion pings each agent, to find frozen processes; set 10s behind a load balancer, where this host's kernel does not notice that an agent's host fell silent",
  }),
  sweepOfflineAfter: durationOrWordOption({
    flag: 'sweep-offline-after',
    words: ['off', 'report'],
    default: '10m',
    help: 'Delete dataplanes without an agent that Kuma shows offline for longer; report: only log them, after 10m',
  }),
  heal: choiceOption({
    flag: 'heal',
    choices: ['on', 'off'],
    default: 'on',
    help: 'Put back the missing object of an attached, running dataplane',
  }),
  ...WITNESS_OPTIONS,
  brakeShare: choiceOption({
    flag: 'brake-share',
    choices: ['5%', '10%', '25%', '50%', '100%'],
    default: '25%',
    help: "Largest share of a mesh's or a service's dataplanes to delete without a request within --brake-window",
  }),
  brakeMinimum: choiceOption({
    flag: 'brake-min',
    choices: ['1', '2', '3', '5', '10'],
    default: '3',
    help: 'Always allow at least this many deletions',
  }),
  brakeWindowMs: durationOption({
    flag: 'brake-window',
    default: '10m',
    min: '1m',
    help: 'How long a deletion counts for the brake',
  }),
} as const;

export const SERVE_OPTIONS = {
  ...KUMA_OPTIONS,
  store: valueOption({
    flag: 'store',
    secret: true,
    read: readStoreLocation,
    placeholder: 'FILE|postgres://…',
    default: '/var/lib/kuma-deregistrar/state.db',
    help: 'State store: a SQLite file (one replica) or a PostgreSQL URL (several)',
  }),
  ...LISTENER_OPTIONS,
  ...CREDENTIAL_OPTIONS,
  ...DECISION_OPTIONS,
  adminSocket,
  logLevel,
  logFormat,
} as const;

/** The options of every command that talks to the running program. */
export const ADMIN_OPTIONS = {
  adminSocket,
  json: switchOption({ flag: 'json', help: 'For programs' }),
} as const;

export const SWEEP_OPTIONS = {
  ...ADMIN_OPTIONS,
  dryRun: switchOption({
    flag: 'dry-run',
    help: 'Only show what would be deleted, and which guard holds back the rest',
  }),
} as const;

export const BRAKE_OPTIONS = {
  ...ADMIN_OPTIONS,
  mesh: textOption({
    flag: 'mesh',
    placeholder: 'MESH',
    derived: 'every mesh',
    help: 'Release it for this mesh only',
  }),
  forMs: durationOption({ flag: 'for', default: '10m', min: '1s', help: 'How long a release lasts' }),
} as const;

export type ServeOptions = OptionValues<typeof SERVE_OPTIONS>;
export type AdminOptions = OptionValues<typeof ADMIN_OPTIONS>;

type CompanionSources = Omit<Parameters<typeof resolveOptions>[1], 'envPrefix'>;

export function resolveServeOptions(sources: CompanionSources): ResolvedOptions<typeof SERVE_OPTIONS> {
  const resolved = resolveOptions(SERVE_OPTIONS, { ...sources, envPrefix: ENV_PREFIX });
  const { kumaClientCertificateFile, kumaClientKeyFile } = resolved.values;
  const { tlsCertificateFile, tlsKeyFile, authn, plaintext, listen, http, httpTokenFile } = resolved.values;
  const problems = [...resolved.problems];
  if ((tlsCertificateFile === undefined) !== (tlsKeyFile === undefined)) {
    problems.push(
      '--tls-cert-file (KUMA_DEREGISTRAR_TLS_CERT_FILE) and --tls-key-file (KUMA_DEREGISTRAR_TLS_KEY_FILE) go together',
    );
  }
  if ((kumaClientCertificateFile === undefined) !== (kumaClientKeyFile === undefined)) {
    problems.push(
      '--kuma-client-cert-file (KUMA_DEREGISTRAR_KUMA_CLIENT_CERT_FILE) and --kuma-client-key-file (KUMA_DEREGISTRAR_KUMA_CLIENT_KEY_FILE) go together',
    );
  }
  const exposed = (listen.length === 0 ? [DEFAULT_LISTEN] : listen).find((each) => !isLocal(each));
  if (exposed !== undefined && authn === 'none') {
    problems.push(
      `--authn none (KUMA_DEREGISTRAR_AUTHN): any caller could deregister any dataplane at ${formatListenerAddress(exposed)}: only for loopback and Unix sockets`,
    );
  }
  if (exposed !== undefined && plaintext) {
    problems.push(
      `--plaintext (KUMA_DEREGISTRAR_PLAINTEXT): tokens would cross the network in clear at ${formatListenerAddress(exposed)}: only for loopback`,
    );
  }
  if (http !== 'off' && !isLocal(http) && httpTokenFile === undefined) {
    problems.push(
      `--http (KUMA_DEREGISTRAR_HTTP): any caller could see the fleet at ${formatListenerAddress(http)}: only for loopback, or with --http-token-file (KUMA_DEREGISTRAR_HTTP_TOKEN_FILE)`,
    );
  }
  return { ...resolved, problems };
}

export const DEFAULT_LISTEN = parseListenerAddress('0.0.0.0:5690');
export const DEFAULT_KUMA_API = new URL('http://127.0.0.1:5681');

function readHttpUrl(text: string): OptionReading<URL> {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    return { problem: 'expected a URL such as "http://127.0.0.1:5681"' };
  }
  if (url.username !== '' || url.password !== '') {
    return { problem: 'no credentials in the URL: use --user-token-file' };
  }
  const query = queryProblem(text);
  return query === undefined ? { value: url } : { problem: query };
}

/** A path, or a URL. Its password may have any character in encoded form. Problems never quote it. */
function readStoreLocation(text: string): OptionReading<string> {
  if (text === '') return { problem: 'must not be empty' };
  if (!/^(?!sqlite:)[a-z][a-z0-9+.-]*:\/\/|^postgres(?:ql)?:|\b(?:host|password|dbname)=/i.test(text))
    return { value: text };
  const url = /^postgres(?:ql)?:/i.test(text) ? URL.parse(text) : null;
  // Of "postgres://user:pass#word@host", a parser takes "user" for the host.
  const misread = url !== null && url.username === '' && /@/.test(`${url.pathname}${url.search}${url.hash}`);
  if (url !== null && url.hostname !== '' && !misread) return readStoreUrl(url, text);
  return {
    problem:
      'expected the path of a file, or postgres://USER:PASSWORD@HOST:PORT/DATABASE; percent-encode reserved characters in the password (# as %23, / as %2F, ? as %3F, @ as %40)',
  };
}

function readStoreUrl({ hostname, searchParams }: URL, text: string): OptionReading<string> {
  if (/,|%2c/i.test(hostname))
    return { problem: 'takes one host: name the address that follows the primary' };
  const mode = searchParams.get('sslmode') ?? 'disable';
  if (!SSL_MODES.has(mode)) {
    return {
      problem: 'takes an sslmode of disable, require, verify-ca or verify-full, and falls back to none',
    };
  }
  if (mode === 'verify-ca' && !searchParams.has('sslrootcert')) {
    return {
      problem: 'needs sslrootcert=FILE with sslmode=verify-ca: otherwise every public CA would be accepted',
    };
  }
  return { value: text };
}

/** `no-verify` is the client library's own word for `require`. */
const SSL_MODES: ReadonlySet<string> = new Set('disable require verify-ca verify-full no-verify'.split(' '));
