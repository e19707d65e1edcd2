import { array, assert, constantFrom, property, string } from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  asPreApplied,
  isWrapped,
  readKumaDpCommand,
} from '../../../../agent/identity/kuma-dp-command.pure.ts';
import { isKumaDpName } from '../../../../kuma/kuma-dp-name.ts';
import { unwrap } from '../../../../agent/identity/wrapping.pure.ts';

const RUN = ['kuma-dp', 'run', '--name', 'web-1', '--mesh=default'];
const LINE = RUN.join(' ');

type Row = readonly [argv: readonly string[], obstacles: readonly string[]];

/** Words in front that change nothing of a stop. */
const FRONTS: readonly (readonly string[])[] = [
  [],
  ['/usr/bin/env'],
  ['env', 'A=b', 'B=c=d'],
  ['env', '-u', 'A'],
  ['env', '-i', 'PATH=/bin'],
  ['env', '--unset=A', '--', 'B=c'],
  ['nohup'],
  ['nice'],
  ['nice', '-n', '5'],
  ['nice', '-n5'],
  ['nice', '-10'],
  ['ionice', '-c', '2', '-n', '0'],
  ['chrt', '-f', '10'],
  ['taskset', '-c', '0,1'],
  ['stdbuf', '-oL', '-e', '0'],
  ['setsid'],
  ['setsid', '--wait'],
  ['setpriv', '--reuid=kuma-dp', '--regid', 'kuma-dp', '--init-groups'],
  ['setpriv', '--reuid', '1000', '--clear-groups', '--'],
  ['gosu', 'kuma-dp'],
  ['gosu', 'run'],
  ['su-exec', 'kuma-dp:kuma-dp'],
  ['chpst', '-u', 'kuma-dp', '-o', '1024'],
  ['chpst', '-ukuma-dp'],
  ['s6-setuidgid', 'kuma-dp'],
  ['timeout', '-k', '5', '1h'],
  ['tini', '--'],
  ['tini', '-g', '-v', '--'],
  ['dumb-init', '--'],
  ['dumb-init', '-r', '15:2'],
  ['sudo', '-E', '-u', 'kuma-dp'],
  ['sudo', '-u', 'run'],
  ['sudo', '--user=kuma-dp', 'A=b'],
  ['doas', '-u', 'kuma-dp'],
  ['op', 'run', '--'],
  ['op', 'run', '--env-file=kuma.env', '--'],
  ['doppler', 'run', '--'],
  ['aws-vault', 'exec', 'run', '--'],
  ['chamber', 'exec', 'kuma', '--'],
  ['nice', 'env', 'A=b', 'nohup', 'setpriv', '--reuid=kuma-dp'],
  ['busybox', 'nice', '-n', '1'],
  ['env', '-', 'A=b'],
  ['env', '-a', 'proxy', '-uA', 'B=c'],
  ['env', '--ignore-signal=HUP', '--default-signal'],
  ['sudo', '-u', 'kuma-dp', '--'],
  ['sudo', '-n', '-H', '-u#1000', '-g', 'kuma'],
  ['sudo', '--preserve-env=A', '--chdir', '/', '--user', 'run'],
  ['doas', '-n', '-u', 'kuma-dp', '--'],
  ['nice', '--adjustment', '5', '--'],
  ['nice', '--adjustment=5'],
  ['ionice', '-t', '-c2', '-n0'],
  ['ionice', '--class', 'idle'],
  ['chrt', '--rr', '10'],
  ['chrt', '-d', '--sched-runtime', '1', '--sched-period', '2', '0'],
  ['taskset', '0x3'],
  ['taskset', '--cpu-list', '0-3'],
  ['timeout', '--foreground', '--signal', 'INT', '--preserve-status', '1h'],
  ['timeout', '-sINT', '10'],
  ['stdbuf', '--output', 'L', '--error=0'],
  ['setarch', 'x86_64', '--addr-no-randomize'],
  ['unshare', '--mount', '--propagation', 'private', '--'],
  ['unshare', '-m', '-S', '0', '-G', '0', '-w', '/'],
  ['nsenter', '-t', '1', '-m', '-n', '--'],
  ['nsenter', '--target', '1', '--all'],
  ['dumb-init', '-c', '--rewrite', '15:3', '--'],
  ['tini', '-s', '-e', '143', '--'],
  ['catatonit', '-P', '--'],
  ['setuidgid', 'kuma-dp'],
  ['envdir', '/etc/kuma-dp/env'],
  ['envuidgid', 'run'],
  ['softlimit', '-m', '1000000', '-o', '1024'],
  ['s6-softlimit', '-o', '1024'],
  ['setlock', '-nX', '/run/kuma-dp.lock'],
  ['flock', '-n', '-w', '5', '/run/kuma-dp.lock'],
  ['flock', '-E', '4', '/run/run'],
  ['with-contenv'],
  ['prlimit', '--nofile=1024:2048', '--'],
  ['choom', '-n', '-500', '--'],
  ['cgexec', '-g', 'cpu:kuma'],
  ['authbind', '--deep'],
  ['strace', '-f', '-o', 'run'],
  ['/usr/bin/time', '-v'],
  ['numactl', '--cpunodebind', '0', '--membind=0'],
  ['infisical', 'run', '--env', 'run', '--'],
  ['vault', 'agent', '-config', 'run', '--'],
  ['envconsul', '-config', 'a.hcl', '-prefix', 'run'],
  ['aws-vault', 'exec', 'kuma-dp', '--no-session', '--'],
  ['teller', 'run', '--'],
  ['systemd-run', '--scope', '-p', 'MemoryMax=1G', '--'],
];

describe('what stands in front of kuma-dp', () => {
  it.each(FRONTS.map((front) => [front.join(' '), front] as const))(
    'is read through: %s',
    (_title, front) => {
      const { argv, obstacles, inFront } = unwrap({ argv: [...front, ...RUN], env: {} });
      expect({ argv, obstacles, inFront }).toEqual({ argv: RUN, obstacles: [], inFront: front.length });
    },
  );

  it('is read through in any order and depth', () => {
    assert(
      property(array(constantFrom(...FRONTS), { maxLength: 6 }), (layers) => {
        const front = layers.flat();
        expect(unwrap({ argv: [...front, ...RUN], env: {} }).argv).toEqual(RUN);
        const key = { mesh: 'm', name: 'n' };
        const { argv } = asPreApplied([...front, 'kuma-dp', 'run', '-d', 'x', '--drain-time=1s'], {}, key);
        expect(argv).toEqual([...front, 'kuma-dp', 'run', '--name=n', '--mesh=m', '--drain-time=1s']);
      }),
    );
  });

  it.each<Row>([
    [['sh', '-c', LINE], ['sh']],
    [['bash', '-c', LINE], []],
    [['bash', '-c', `exec ${LINE}`], []],
    [['sh', '-c', `exec ${LINE}`], []],
    [['sh', '-ec', `exec ${LINE}\n`], []],
    [['sh', '-euo', 'pipefail', '-c', `exec ${LINE}`], []],
    [['sh', '-c', `${LINE}\n`], ['sh']],
    [['bash', '-c', `${LINE} >/var/log/kuma-dp.log 2>&1`], ['bash']],
    [['bash', '-c', `sleep 1; ${LINE}`], ['bash']],
    [['bash', '-c', `cd /etc && exec ${LINE}`], []],
    [['sh', '-c', `test -f x || exit 1\nexec ${LINE}`], []],
    [['sh', '-c', `if true; then exec ${LINE}; fi`], []],
    [['sh', '-c', `env A=b ${LINE}`], ['sh']],
    [['sh', '-c', 'exec kuma-dp run --name \\\n  web-1 --mesh="default" # the first'], []],
    [['sh', '-c', 'exec "$0" "$@"', ...RUN], []],
    [['sh', '-c', 'exec $RUN'], []],
    [['env', '-S', LINE], []],
    [['env', '-S', '-u B A=b kuma-dp', ...RUN.slice(1)], []],
    [['env', '-vS', 'A=b', ...RUN], []],
    [['env', '-u', 'B', `--split-string=-i A=b ${LINE}`], []],
    [['chrt', '-o', ...RUN], []],
    [['setarch', '-R', ...RUN], []],
    [['nsenter', '-t', '1', '-a', 'sh', '-c', `exec ${LINE}`], []],
    [['infisical', 'run', '--', 'sh', '-c', LINE], ['sh']],
    [['infisical', 'run', `--command=${LINE}`], ['infisical']],
    [['doppler', 'run', '--command', `cd /etc && ${LINE}`], ['doppler']],
    [['sops', 'exec-env', 'kuma.enc.env', LINE], ['sops']],
    [['sops', 'exec-env', 'kuma.enc.env', `exec ${LINE}`], []],
    [['with-contenv', 'bash', '-c', LINE], []],
    [['flock', '/run/lock', '-c', LINE], ['flock']],
    [['script', '-qfc', LINE, '/dev/null'], ['script']],
    [['capsh', '--user=kuma-dp', '--', '-c', `exec ${LINE}`], []],
    [['tmux', 'new-session', '-d', '-s', 'kuma', LINE], ['tmux']],
    [['tmux', 'new', '-d', ...RUN], ['tmux']],
    [['screen', '-dmS', 'kuma', ...RUN], ['screen']],
    [['screen', '-D', '-m', 'sh', '-c', `${LINE}\n`], ['screen']],
    [['pm2', 'start', LINE, '--name', 'dp'], ['pm2']],
    [['dtach', '-n', '/run/kuma.sock', ...RUN], ['dtach']],
    [['sudo', '-E', 'screen', '-dm', ...RUN], ['screen']],
    [['systemd-run', '--unit=dp', ...RUN], ['systemd-run']],
    [['toolbox', 'run', ...RUN], ['toolbox']],
    [['su', '-m', '-s', '/bin/sh', 'kuma-dp', '-c', `exec ${LINE}`], ['su']],
    [
      ['su', 'kuma-dp', '-c', LINE],
      ['su', 'sh'],
    ],
    [['runuser', '-u', 'kuma-dp', '--', ...RUN], ['runuser']],
    [['runuser', '--user=kuma-dp', ...RUN], ['runuser']],
    [
      ['runuser', 'kuma-dp', '-c', LINE],
      ['runuser', 'sh'],
    ],
    [['docker', 'run', '--rm', '-v', '/etc:/etc', '--name', 'dp', 'image', ...RUN], ['docker']],
    [
      ['docker', 'run', '-d', 'image', ...RUN],
      ['docker', 'docker'],
    ],
    [['podman', 'exec', 'dp', ...RUN], ['podman']],
    [['ssh', 'web-1', ...RUN], ['ssh']],
    [['setsid', '--fork', ...RUN], ['setsid']],
    [['setsid', '-f', ...RUN], ['setsid']],
    [['start-stop-daemon', '--start', '-b', '--exec', '/usr/bin/env', '--', ...RUN], ['start-stop-daemon']],
    [
      ['sh', '-c', `${LINE} &`],
      ['sh', 'sh'],
    ],
  ])('%j: the obstacles are %j', (argv, programs) => {
    const read = unwrap({ argv, env: { RUN: LINE } });
    expect(read.argv).toEqual(RUN);
    expect(read.obstacles.map(({ program }) => program)).toEqual(programs);
  });

  it.each([
    ['nice', '/opt/kuma/bin/kuma-dp-2.14.3', 'run'],
    ['runuser', '-u', 'kuma-dp', '--', 'kuma-dp_v2.13.0', 'run'],
    ['infisical', 'run', '--', '/opt/kuma-dp-2.14.3-rc.1', 'run'],
    ['sh', '-c', 'exec kuma-dp-2.9.6 run'],
    ['sops', 'exec-env', 'f', 'kuma-dp-2.9.6 run'],
  ])('is found with a version in its name: %s %s', (...argv) => {
    expect(unwrap({ argv, env: {} }).argv).toEqual([
      expect.stringMatching(/kuma-dp[-_]v?2\.[\w.-]+$/),
      'run',
    ]);
  });

  it.each(['kuma-dp-agent', 'kuma-dp.yaml', 'kuma-dp-config', 'kuma-dp-', 'my-kuma-dp', 'kuma-dp2'])(
    '%s is not kuma-dp',
    (name) => {
      expect(isKumaDpName(name)).toBe(false);
    },
  );

  it('is a script of its own, by its first line or by its shell', () => {
    const script = `#!/usr/bin/env bash\nset -e\nMESH=default\nexport NAME=web-1\nexec kuma-dp run --name "$NAME" --mesh="\${MESH}" "$@"\n`;
    const readScriptFile = (path: string): string | undefined => (path === './start.sh' ? script : undefined);
    for (const argv of [['./start.sh'], ['sh', './start.sh'], ['nice', 'bash', '-e', './start.sh']]) {
      const read = unwrap({ argv, env: {}, readScriptFile });
      expect(read.argv).toEqual(RUN);
      expect(read.env['NAME']).toBe('web-1');
      expect(read).toMatchObject({ inFront: undefined, obstacles: [] });
    }
    expect(unwrap({ argv: ['./start.sh', '--skip-verify'], env: {}, readScriptFile }).argv).toEqual([
      ...RUN,
      '--skip-verify',
    ]);
  });

  it('is none where a script takes the words of kuma-dp and names none', () => {
    const argv = ['/opt/start', 'run', '--name=web-1'];
    const read = unwrap({ argv, env: {}, readScriptFile: () => '#!/bin/sh\nexec /opt/proxy "$@"\n' });
    expect(read).toMatchObject({ argv, inFront: 0, obstacles: [] });
  });

  it('changes the environment as kuma-dp will find it', () => {
    const env = { KUMA_DATAPLANE_NAME: 'a', KUMA_DATAPLANE_MESH: 'm', HOME: '/' };
    const nameAndMesh = (...front: readonly string[]): unknown => {
      const command = readKumaDpCommand([...front, 'kuma-dp', 'run'], env);
      return [command?.name, command?.mesh];
    };
    expect(nameAndMesh()).toEqual(['a', 'm']);
    expect(nameAndMesh('env', 'KUMA_DATAPLANE_NAME=b')).toEqual(['b', 'm']);
    expect(nameAndMesh('env', '--', 'KUMA_DATAPLANE_NAME=b')).toEqual(['b', 'm']);
    expect(nameAndMesh('env', '-u', 'KUMA_DATAPLANE_MESH')).toEqual(['a', '']);
    expect(nameAndMesh('env', '-i', 'KUMA_DATAPLANE_NAME=b')).toEqual(['b', '']);
    expect(nameAndMesh('env', '-', 'KUMA_DATAPLANE_NAME=b')).toEqual(['b', '']);
    expect(nameAndMesh('env', '-S', '-u KUMA_DATAPLANE_MESH KUMA_DATAPLANE_NAME=b')).toEqual(['b', '']);
    expect(nameAndMesh('sudo', '-u', 'kuma-dp')).toEqual(['', '']);
    expect(nameAndMesh('sudo', '-E', '-u', 'kuma-dp')).toEqual(['a', 'm']);
    expect(nameAndMesh('sudo', 'KUMA_DATAPLANE_NAME=b')).toEqual(['b', '']);
  });

  it('sudo without -E is an obstacle where KUMA_ variables are set', () => {
    const [obstacle] = unwrap({ argv: ['sudo', ...RUN], env: { KUMA_DATAPLANE_NAME: 'a' } }).obstacles;
    expect(obstacle).toMatchObject({ program: 'sudo', level: 'breaks' });
    expect(unwrap({ argv: ['sudo', ...RUN], env: { HOME: '/' } }).obstacles).toEqual([]);
  });

  it('doas is one too, since its rule may drop them', () => {
    const argv = ['doas', '-u', 'kuma-dp', ...RUN];
    const [obstacle] = unwrap({ argv, env: { KUMA_DATAPLANE_NAME: 'a' } }).obstacles;
    expect(obstacle).toMatchObject({ program: 'doas', level: 'careful' });
    expect(unwrap({ argv, env: { HOME: '/' } }).obstacles).toEqual([]);
  });

  it('changes the folder that files are read from', () => {
    const command = readKumaDpCommand(['env', '-C', '/etc/kuma', 'kuma-dp', 'run', '-d', 'dp.yaml'], {});
    expect(command?.resourcePath).toBe('/etc/kuma/dp.yaml');
    expect(readKumaDpCommand(['env', '--chdir=/x', 'kuma-dp', 'run', '-d', '-'], {})?.resourcePath).toBe('-');
    expect(readKumaDpCommand(['env', '-C', '/x', 'kuma-dp', 'run', '-d', '/y'], {})?.resourcePath).toBe('/y');
  });

  it('brings no resource and no name of its own when the command is rewritten', () => {
    const front = ['env', 'KUMA_DATAPLANE_NAME=a', 'KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH=x', 'A=b'];
    const { argv } = asPreApplied(
      [...front, 'kuma-dp', '--log-level=debug', 'run'],
      {},
      { mesh: 'm', name: 'n' },
    );
    expect(argv).toEqual(['env', 'A=b', 'kuma-dp', '--log-level=debug', 'run', '--name=n', '--mesh=m']);
  });

  it.each<readonly [argv: readonly string[]]>([
    [['sh', '-c', LINE]],
    [['docker', 'run', 'image', ...RUN]],
    [['runuser', 'kuma-dp', '-c', LINE]],
    [['env', '-S', LINE]],
  ])('%j cannot be rewritten', (argv) => {
    expect(readKumaDpCommand(argv, {})?.rewritable).toBe(false);
  });

  it.each<readonly [argv: readonly string[]]>([
    [['kuma-dp', '--log-level', 'debug', 'run', '--name', 'web-1']],
    [['kuma-dp', '--name', 'web-1', 'run']],
    [['kuma-dp', '--log-output-path', 'run', 'run', '--name=web-1']],
  ])('flags may stand before the subcommand: %j', (argv) => {
    expect(readKumaDpCommand(argv, {})?.name).toBe('web-1');
  });

  it.each<readonly [argv: readonly string[], wrapped: boolean]>([
    [RUN, false],
    [['/opt/proxy', 'run', '--name=web-1'], false],
    [['nice', ...RUN], true],
    [['start-elsewhere', '--', ...RUN], true],
    [['sh', '-c', LINE], true],
    [['sops', 'exec-env', 'f', LINE], true],
  ])('%j: kuma-dp has to appear as a process below it: %j', (argv, wrapped) => {
    expect(isWrapped(argv, {})).toBe(wrapped);
  });

  it('is nothing that reads any text and never ends or throws', () => {
    assert(
      property(array(string()), string(), (argv, script) => {
        for (const front of [['sh', '-c', script], ['env', '-S', script], []]) {
          expect(unwrap({ argv: [...front, ...argv], env: {} }).argv.length).toBeGreaterThanOrEqual(0);
        }
      }),
    );
  });
});
