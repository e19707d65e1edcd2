import { readFileSync } from 'node:fs';
import { describe, expect, inject, test } from 'vitest';

import { ControlPlaneProcess } from '../support/kuma/control-plane-process.ts';
import { BootedSystemd, PROJECT_INSIDE } from '../support/systemd/booted-systemd.ts';
import { installDataplane } from '../support/systemd/hosted-dataplane.ts';
import { TemporaryDir } from '../support/world/temporary-dir.ts';

const layer = inject('layer');
const UNITS = '/etc/systemd/system';
const NAME = 'cp.mesh.test';

/** What every distribution has under some name: units before network.target and nss-lookup.target that bring both up. */
const NETWORK = `[Unit]
Wants=network.target network-online.target
Before=network.target network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/ip link set lo up
ExecStop=/usr/sbin/ip link set lo down
`;
const NAMES = `[Unit]
Wants=nss-lookup.target
Before=nss-lookup.target
After=network.target
[Service]
Type=notify
NotifyAccess=all
ExecStart=${PROJECT_INSIDE}/scripts/pinned-node ${PROJECT_INSIDE}/test/support/systemd/name-server.ts ${NAME}
`;

/**
 * A host with a network, name resolution and a dataplane of its own, and a control plane in that network. Only the
 * agent deletes the object.
 */
class Host implements AsyncDisposable {
  readonly systemd: BootedSystemd;
  readonly #storeFile: string;
  readonly #disposables: AsyncDisposableStack;

  private constructor(systemd: BootedSystemd, storeFile: string, disposables: AsyncDisposableStack) {
    this.systemd = systemd;
    this.#storeFile = storeFile;
    this.#disposables = disposables;
  }

  static async boot(): Promise<Host> {
    await using disposables = new AsyncDisposableStack();
    const storeFile = disposables.use(new TemporaryDir()).join('store.json');
    const systemd = disposables.use(await BootedSystemd.boot({ layer, network: 'own' }));
    const controlPlane = disposables.use(await ControlPlaneProcess.start({ storeFile }, systemd.besideIt));
    await systemd.write(`${UNITS}/test-network.service`, NETWORK);
    await systemd.write(`${UNITS}/test-names.service`, NAMES);
    await systemd.write('/etc/resolv.conf', 'nameserver 127.0.0.1\n');
    await systemd.systemctl('daemon-reload');
    await systemd.systemctl('start', 'test-network', 'test-names');
    await installDataplane({
      systemd,
      name: 'web-1',
      unit: 'kuma-dp',
      service: 'backend',
      servicePort: 8_080,
      token: '',
      dataplaneUrl: controlPlane.dataplaneUrl,
      endpoint: controlPlane.httpUrl.replace('127.0.0.1', NAME),
      // The budget is for a host that is cut off.
      env: { KUMA_DP_AGENT_LIFECYCLE: 'agent', KUMA_DP_AGENT_STOP_BUDGET: '10s' },
    });
    return new Host(systemd, storeFile, disposables.move());
  }

  /** Whether the control plane still has the object. */
  get registered(): boolean {
    return readFileSync(this.#storeFile, 'utf8').includes('"name":"web-1"');
  }

  /** @returns once nothing of the host runs any more */
  async shutDown(how: 'poweroff' | 'reboot'): Promise<void> {
    // The end of the host may be quicker than its answer.
    await this.systemd.run(['systemctl', how]);
    await this.systemd.off();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#disposables[Symbol.asyncDispose]();
  }
}

describe('a host that shuts down', () => {
  test.for(['poweroff', 'reboot'] as const)(
    '%s: the dataplane leaves before network and names go',
    async (how) => {
      await using host = await Host.boot();
      await host.systemd.systemctl('start', 'kuma-dp');
      expect(host.registered).toBe(true);
      await host.shutDown(how);
      expect(host.registered).toBe(false);
    },
  );

  test('the dataplane leaves without name resolution: its connections are open', async () => {
    await using host = await Host.boot();
    await host.systemd.systemctl('start', 'kuma-dp');
    await host.systemd.systemctl('stop', 'test-names');
    expect((await host.systemd.run(['getent', 'hosts', NAME])).code, 'the name is gone').not.toBe(0);
    await host.shutDown('poweroff');
    expect(host.registered).toBe(false);
  });

  test('the object stays if the network is ordered to go first: the tests above can fail', async () => {
    await using host = await Host.boot();
    const cat = await host.systemd.must(['systemctl', 'cat', 'kuma-dp']);
    const unordered = cat.split('\n').filter((line) => !/^(After|Wants)=/.test(line));
    await host.systemd.write(`${UNITS}/unordered.service`, unordered.join('\n'));
    await host.systemd.write(
      `${UNITS}/test-network.service.d/first.conf`,
      '[Unit]\nAfter=unordered.service\n',
    );
    await host.systemd.systemctl('daemon-reload');
    await host.systemd.systemctl('start', 'unordered');
    expect(host.registered).toBe(true);
    await host.shutDown('poweroff');
    expect(host.registered).toBe(true);
  });
});
