import { isIP } from 'node:net';
import { checkServerIdentity } from 'node:tls';

import { credentials, logVerbosity, Metadata, setLogVerbosity, type ChannelCredentials } from '@grpc/grpc-js';

import { hasCode, OperationalError } from '../../kernel/errors.ts';
import type { EndpointTls } from '../../kuma/connection-pool.io.ts';
import { DeregistrarClient } from '../../proto/gen/deregistrar/v1/deregistrar.ts';
import type { Token } from '../ports.ts';
import { careForConnectionsTo } from './companion-sockets.io.ts';
import { trustKnownRoots } from '../../program/known-roots.ts';

export interface CompanionChannelOptions {
  readonly url: URL;
  readonly tls: EndpointTls;
  readonly token: Token;
  /** How often the companion's process is asked whether it lives; {@link PINGS} if left out. */
  readonly pings?: Pings | undefined;
}

interface Pings {
  readonly timeMs: number;
  readonly timeoutMs: number;
}

/** Finds a process that froze while its kernel answers. The kernel finds a silent host: companion-sockets. */
const PINGS: Pings = { timeMs: 60_000, timeoutMs: 15_000 };
/** Together the 15 s within which the agent notices a silent companion if the kernel's probes are too rare. */
export const LONE_PINGS: Pings = { timeMs: 10_000, timeoutMs: 5_000 };

/** Short enough for a companion that comes back during a deregistration, which has 5 s. */
const RECONNECT_CAP_MS = 2_000;

/** One name may lead to several replicas: the agents spread over them. */
const ANY_ADDRESS = JSON.stringify({ loadBalancingConfig: [{ pick_first: { shuffleAddressList: true } }] });

/** One connection to a companion, with the metadata of every call. */
export class CompanionChannel {
  readonly #options: CompanionChannelOptions;
  #client: DeregistrarClient;
  #openedWith: string;
  readonly #endCare: () => void;

  constructor(options: CompanionChannelOptions) {
    const { url, tls } = options;
    // GRPC_TRACE prints the headers of every call, and one of them is the token.
    setLogVerbosity(logVerbosity.NONE);
    if (url.protocol === 'grpcs:' && tls.ca === undefined && !tls.skipVerify) trustKnownRoots();
    this.#options = options;
    this.#openedWith = textOf(tls);
    this.#endCare = careForConnectionsTo(url);
    this.#client = this.#open();
  }

  get client(): DeregistrarClient {
    if (textOf(this.#options.tls) !== this.#openedWith) this.renew();
    return this.#client;
  }

  /** The token as kuma-dp sends it to its control plane. Over TLS it leaves only after the handshake. */
  metadata(): Metadata {
    const metadata = new Metadata();
    const { current } = this.#options.token;
    if (current !== undefined) metadata.set('authorization', current);
    return metadata;
  }

  /** The next call gets a new connection, perhaps to another address. Streams on the old one stay. */
  renew(): void {
    this.#client.close();
    this.#openedWith = textOf(this.#options.tls);
    this.#client = this.#open();
  }

  /** After a failed handshake: the next call uses the current content of the files. */
  refreshUnlessTrusted(error: unknown): void {
    if (hasCode(error, 'ENDPOINT_UNTRUSTED')) this.#options.tls.refresh?.();
  }

  close(): void {
    this.#endCare();
    this.#client.close();
  }

  #open(): DeregistrarClient {
    const { url, tls, pings = PINGS } = this.#options;
    const secured = url.protocol === 'grpc:' ? credentials.createInsecure() : tlsCredentials(url, tls);
    return new DeregistrarClient(`dns:${url.host}`, secured, {
      'grpc.keepalive_time_ms': pings.timeMs,
      'grpc.keepalive_timeout_ms': pings.timeoutMs,
      'grpc.keepalive_permit_without_calls': 1,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': RECONNECT_CAP_MS,
      // The name server is asked at most once in this time. The default, 30 s, would hide a moved companion for as
      // long.
      'grpc.dns_min_time_between_resolutions_ms': 5_000,
      // A connection of its own, so that `renew` gets a new one.
      'grpc.use_local_subchannel_pool': 1,
      // Without these, grpc-js would decide on retries, proxies and settings from the DNS.
      'grpc.enable_retries': 0,
      'grpc.enable_http_proxy': 0,
      'grpc.service_config_disable_resolution': 1,
      'grpc.service_config': ANY_ADDRESS,
      'grpc.enable_channelz': 0,
      ...(ipAddress(url) === undefined ? {} : { 'grpc.ssl_target_name_override': NO_NAME }),
    });
  }
}

/**
 * grpc-js sends a server name in the handshake, and Node warns if that is an address: RFC 6066 wants a name or none.
 * grpc-js cannot send none, so it sends a name that belongs to no host. The certificate is verified for the address.
 */
const NO_NAME = 'address.invalid';

function tlsCredentials(url: URL, tls: EndpointTls): ChannelCredentials {
  const address = ipAddress(url);
  try {
    return credentials.createSsl(pem(tls.ca), pem(tls.clientKey), pem(tls.clientCertificate), {
      rejectUnauthorized: !tls.skipVerify,
      ...(address === undefined
        ? {}
        : { checkServerIdentity: (_name, certificate) => checkServerIdentity(address, certificate) }),
    });
  } catch (cause) {
    throw new OperationalError('CONFIG_INVALID', `Cannot use the certificates or the key for ${url.href}`, {
      cause,
    });
  }
}

/** The TLS material of a connection, to notice changes. */
function textOf({ ca, clientCertificate, clientKey }: EndpointTls): string {
  return [ca, clientCertificate, clientKey].join('\n');
}

function ipAddress({ hostname }: URL): string | undefined {
  const bare = hostname.replace(/^\[|\]$/g, '');
  return isIP(bare) === 0 ? undefined : bare;
}

function pem(text: string | undefined): Buffer | null {
  return text === undefined ? null : Buffer.from(text);
}
