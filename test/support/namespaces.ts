import { execFileSync, spawnSync } from 'node:child_process';
import process from 'node:process';

import type { TestContext } from 'vitest';

import { unavailable } from './need.ts';

/** Skips the test where no network namespace can be made. In CI the test fails. */
export function needNetworkNamespaces(context: TestContext): void {
  if (!canMakeNetworkNamespaces())
    unavailable(context, 'no network namespace can be made here: run as root, with iproute2');
}

export function canMakeNetworkNamespaces(): boolean {
  const name = `kd-try-${process.pid}`;
  const isMade = spawnSync('ip', ['netns', 'add', name]).status === 0;
  if (isMade) ip(['netns', 'delete', name]);
  return isMade;
}

/** A host of its own, as far as the network is concerned. */
export interface NetworkHost {
  readonly address: string;
  /** Command prefix: runs a command on this host. */
  readonly prefix: readonly string[];
  /** No packet gets through any more, in either direction; on the host everything looks as before. */
  fallSilent(): void;
  /** Lets packets through again. */
  comeBack(): void;
  /** The host receives packets, but its own do not reach `address`. */
  loseWayTo(address: string): void;
  findWayTo(address: string): void;
  /**
   * Its firewall drops or rejects packets from `from` to `port`. Needs iptables.
   *
   * @param answer `REJECT`: with an RST
   */
  shut(port: number, how: { readonly from: string; readonly answer: 'DROP' | 'REJECT' }): void;
  /** Its own packets to `port` of `address` are dropped. Needs iptables. */
  shutOut(address: string, port: number): void;
  /** Its own connections to other hosts but `except` end up at `port` of its loopback. Needs iptables. */
  redirect(port: number, except: string): void;
}

/** Locally administered. */
const BRIDGE_MAC = '02:00:00:00:00:01';

/** Hosts on one network, with this one as {@link NetworkHosts.address}. Needs root. */
export class NetworkHosts implements Disposable {
  static #made = 0;
  readonly address: string;
  readonly #bridge: string;
  readonly #subnet: string;
  readonly #names: string[] = [];

  constructor() {
    NetworkHosts.#made += 1;
    const id = `${process.pid % 100_000}${NetworkHosts.#made}`;
    this.#bridge = `kdb${id}`;
    // Test files run in processes of their own, side by side.
    this.#subnet = `10.${200 + (process.pid % 50)}.${(Math.floor(process.pid / 50) * 7 + NetworkHosts.#made) % 250}`;
    this.address = `${this.#subnet}.1`;
    // By default a bridge takes the address of a port, and after that port has left it would still accept the host's
    // packets.
    ip(['link', 'add', this.#bridge, 'address', BRIDGE_MAC, 'type', 'bridge']);
    ip(['address', 'add', `${this.address}/24`, 'dev', this.#bridge]);
    ip(['link', 'set', this.#bridge, 'up']);
  }

  add(): NetworkHost {
    const nth = this.#names.length;
    const name = `${this.#bridge}-${nth}`;
    const peer = `${this.#bridge.replace('kdb', 'kdp')}${nth}`;
    const address = `${this.#subnet}.${10 + nth}`;
    ip(['netns', 'add', name]);
    this.#names.push(name);
    ip(['link', 'add', peer, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name]);
    ip(['link', 'set', peer, 'master', this.#bridge, 'up']);
    ip(['-n', name, 'address', 'add', `${address}/24`, 'dev', 'eth0']);
    for (const device of ['lo', 'eth0']) ip(['-n', name, 'link', 'set', device, 'up']);
    return {
      address,
      prefix: ['ip', 'netns', 'exec', name],
      fallSilent: () => {
        ip(['link', 'set', peer, 'nomaster']);
      },
      comeBack: () => {
        ip(['link', 'set', peer, 'master', this.#bridge]);
      },
      loseWayTo: (to) => {
        ip(['-n', name, 'route', 'add', 'blackhole', `${to}/32`]);
      },
      findWayTo: (to) => {
        ip(['-n', name, 'route', 'delete', 'blackhole', `${to}/32`]);
      },
      shut: (port, { from, answer }) => {
        const reset = answer === 'REJECT' ? ['--reject-with', 'tcp-reset'] : [];
        const packets = ['-p', 'tcp', '-s', from, '--dport', String(port)];
        filter(name, ['-A', 'INPUT', ...packets, '-j', answer, ...reset]);
      },
      shutOut: (to, port) => {
        filter(name, ['-A', 'OUTPUT', '-p', 'tcp', '-d', to, '--dport', String(port), '-j', 'DROP']);
      },
      redirect: (port, except) => {
        const connections = ['-t', 'nat', '-A', 'OUTPUT', '-o', 'eth0', '-p', 'tcp', '!', '-d', except];
        filter(name, [...connections, '-j', 'REDIRECT', '--to-ports', String(port)]);
      },
    };
  }

  [Symbol.dispose](): void {
    for (const name of this.#names) spawnSync('ip', ['netns', 'delete', name]);
    spawnSync('ip', ['link', 'delete', this.#bridge]);
  }
}

function filter(name: string, argv: readonly string[]): void {
  ip(['netns', 'exec', name, 'iptables', ...argv]);
}

function ip(argv: readonly string[]): void {
  execFileSync('ip', argv, { stdio: ['ignore', 'ignore', 'inherit'] });
}
