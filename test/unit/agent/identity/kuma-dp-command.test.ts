import { describe, expect, test } from 'vitest';

import {
  asPreApplied,
  readKumaDpCommand,
  readsStandardInput,
  type KumaDpCommand,
} from '../../../../agent/identity/kuma-dp-command.pure.ts';

const DEFAULTS: KumaDpCommand = {
  name: '',
  mesh: '',
  proxyType: 'dataplane',
  drainTime: '30s',
  cpAddress: 'https://localhost:5678',
  caCertFile: '',
  caCert: '',
  skipVerify: false,
  resourcePath: '',
  resource: '',
  resourceVars: {},
  tokenPath: '',
  token: '',
  authType: '',
  workDir: '',
  readinessPort: '9902',
  obstacles: [],
  rewritable: true,
};

function read(args: readonly string[], env: Record<string, string> = {}): KumaDpCommand | undefined {
  return readKumaDpCommand(['kuma-dp', 'run', ...args], env);
}

describe('readKumaDpCommand()', () => {
  test("without a flag has kuma-dp's own defaults", () => {
    expect(read([])).toEqual(DEFAULTS);
  });

  test.for<{ readonly flag: string; readonly env: string; readonly key: keyof KumaDpCommand }>([
    { flag: 'name', env: 'KUMA_DATAPLANE_NAME', key: 'name' },
    { flag: 'mesh', env: 'KUMA_DATAPLANE_MESH', key: 'mesh' },
    { flag: 'proxy-type', env: 'KUMA_DATAPLANE_PROXY_TYPE', key: 'proxyType' },
    { flag: 'drain-time', env: 'KUMA_DATAPLANE_DRAIN_TIME', key: 'drainTime' },
    { flag: 'cp-address', env: 'KUMA_CONTROL_PLANE_URL', key: 'cpAddress' },
    { flag: 'ca-cert-file', env: 'KUMA_CONTROL_PLANE_CA_CERT_FILE', key: 'caCertFile' },
    { flag: 'dataplane-file', env: 'KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH', key: 'resourcePath' },
    { flag: 'dataplane', env: 'KUMA_DATAPLANE_RUNTIME_RESOURCE', key: 'resource' },
    { flag: 'dataplane-token-file', env: 'KUMA_DATAPLANE_RUNTIME_TOKEN_PATH', key: 'tokenPath' },
    { flag: 'dataplane-token', env: 'KUMA_DATAPLANE_RUNTIME_TOKEN', key: 'token' },
    { flag: 'work-dir', env: 'KUMA_DATAPLANE_RUNTIME_WORK_DIR', key: 'workDir' },
  ])('--$flag: both forms, the last one counts, $env overrides it even if empty', ({ flag, env, key }) => {
    expect(read([`--${flag}`, 'a'])).toEqual({ ...DEFAULTS, [key]: 'a' });
    expect(read([`--${flag}=a`])).toEqual({ ...DEFAULTS, [key]: 'a' });
    expect(read([`--${flag}=`])).toEqual({ ...DEFAULTS, [key]: '' });
    expect(read([`--${flag}=a`, `--${flag}`, 'b=c'])).toEqual({ ...DEFAULTS, [key]: 'b=c' });
    expect(read([`--${flag}=a`], { [env]: 'e' })).toEqual({ ...DEFAULTS, [key]: 'e' });
    expect(read([`--${flag}=a`], { [env]: '' })).toEqual({ ...DEFAULTS, [key]: '' });
    expect(read([], { [env]: 'e' })).toEqual({ ...DEFAULTS, [key]: 'e' });
  });

  test.for<{ readonly env: string; readonly key: keyof KumaDpCommand }>([
    { env: 'KUMA_CONTROL_PLANE_CA_CERT', key: 'caCert' },
    { env: 'KUMA_READINESS_PORT', key: 'readinessPort' },
  ])('$env has no flag', ({ env, key }) => {
    expect(read([], { [env]: 'e' })).toEqual({ ...DEFAULTS, [key]: 'e' });
  });

  test.for([
    { text: 'true', skips: true },
    { text: 'TRUE', skips: true },
    { text: 'True', skips: true },
    { text: 'T', skips: true },
    { text: 't', skips: true },
    { text: '1', skips: true },
    { text: 'false', skips: false },
    { text: '0', skips: false },
    { text: 'yes', skips: false },
    { text: '', skips: false },
  ])('reads the boolean "$text" as Go does: $skips', ({ text, skips }) => {
    expect(read([`--skip-verify=${text}`])?.skipVerify).toBe(skips);
    expect(read([], { KUMA_CONTROL_PLANE_TLS_SKIP_VERIFY: text })?.skipVerify).toBe(skips);
    expect(read(['--skip-verify'], { KUMA_CONTROL_PLANE_TLS_SKIP_VERIFY: text })?.skipVerify).toBe(skips);
  });

  test('a flag of another distribution takes the next argument only where that is no flag', () => {
    expect(read(['--opa-enabled', '--name', 'a', '--opa-addr', 'x', '--mesh=m'])).toEqual({
      ...DEFAULTS,
      name: 'a',
      mesh: 'm',
    });
    expect(read(['--name=a', '--opa-enabled'])).toEqual({ ...DEFAULTS, name: 'a' });
  });

  test.for([
    [['--opa-enabled', '-d', 'dp.yaml', '--auth-type=aws']],
    [['--opa-enabled', '--auth-type', 'aws', '-ddp.yaml']],
    [['-d', 'dp.yaml', '--opa-enabled', '--opa-set', '--flag=x', '--auth-type=aws']],
    [
      [
        '--opa-set=a=b',
        '--opa-enabled',
        '--dataplane-file',
        'dp.yaml',
        '--opa-diagnostic-addr',
        ':1',
        '--auth-type=aws',
      ],
    ],
    [['--a-new-switch', '--another', '-d', 'dp.yaml', '--opa-enabled=true', '--auth-type', 'aws', '--last']],
  ])(
    "Kong Mesh's flags, and flags that the table does not have, take nothing of others: %j",
    ([args = []]) => {
      expect(read(args)).toEqual({ ...DEFAULTS, resourcePath: 'dp.yaml', authType: 'aws' });
      const [before, at] = [args.slice(0, 2), args.slice(2)];
      const applied = asPreApplied(['kuma-dp', 'run', ...before, ...at], {}, { mesh: 'm', name: 'n' }).argv;
      expect(applied.filter((word) => word.includes('opa') || word.startsWith('--a'))).toEqual(
        args.filter((word) => word.includes('opa') || word.startsWith('--a')),
      );
      expect(applied.join(' ')).not.toContain('dp.yaml');
    },
  );

  test("without a usable name takes the pod's, where both variables are set", () => {
    const pod = { POD_NAME: 'web-1', POD_NAMESPACE: 'shop' };
    expect(read([], pod)?.name).toBe('web-1.shop');
    expect(read(['--name', '$(POD_NAME)'], pod)?.name).toBe('web-1.shop');
    expect(read(['--name', 'a'], pod)?.name).toBe('a');
    expect(read([], { POD_NAME: 'web-1' })?.name).toBe('');
    expect(read([], { POD_NAMESPACE: 'shop' })?.name).toBe('');
  });

  test('a switch takes no argument', () => {
    expect(read(['--skip-verify', 'false'])?.skipVerify).toBe(true);
  });

  test.for([
    { args: ['-d', 'dp.yaml'], path: 'dp.yaml' },
    { args: ['-d=dp.yaml'], path: 'dp.yaml' },
    { args: ['-ddp.yaml'], path: 'dp.yaml' },
    { args: ['-d', '-'], path: '-' },
    { args: ['-d-'], path: '-' },
    { args: ['--dataplane-file', '--name'], path: '--name' },
    { args: ['-d', 'a', '--dataplane-file=b'], path: 'b' },
    { args: ['--', '-d', 'dp.yaml'], path: '' },
    { args: ['operand', '-d', 'dp.yaml'], path: 'dp.yaml' },
    { args: ['--skip-verify', '-d', 'dp.yaml'], path: 'dp.yaml' },
    { args: ['--dns-enabled=false', '-d', 'dp.yaml'], path: 'dp.yaml' },
    { args: ['--log-level', '-d', '-d', 'dp.yaml'], path: 'dp.yaml' },
  ])('$args: the resource is at "$path"', ({ args, path }) => {
    expect(read(args)?.resourcePath).toBe(path);
  });

  test.for<{ readonly args: readonly string[]; readonly vars: Readonly<Record<string, string>> }>([
    { args: ['--dataplane-var', 'a=1'], vars: { a: '1' } },
    { args: ['--dataplane-var=a=1'], vars: { a: '1' } },
    { args: ['-v', 'a=1', '-v', 'b=2'], vars: { a: '1', b: '2' } },
    { args: ['-va=1'], vars: { a: '1' } },
    { args: ['-v=a=1'], vars: { a: '1' } },
    { args: ['-v', 'a=1,b=2'], vars: { a: '1', b: '2' } },
    { args: ['-v', 'a=1', '-v', 'a=2'], vars: { a: '2' } },
    { args: ['-v', 'a='], vars: { a: '' } },
    { args: ['-v', 'a=1,2'], vars: { a: '1,2' } },
    { args: ['-v', 'a=b=c'], vars: { a: 'b=c' } },
    { args: ['-v', '"a=1,2",b=3'], vars: { a: '1,2', b: '3' } },
    { args: ['-v', '"a=say ""x""",b=3'], vars: { a: 'say "x"', b: '3' } },
    { args: ['-v', '"a=1"'], vars: { a: '1' } },
    { args: ['-v', 'a=1, b=2'], vars: { a: '1', ' b': '2' } },
    { args: ['-v', 'nothing'], vars: {} },
    { args: ['-v', ''], vars: {} },
  ])('$args sets $vars', ({ args, vars }) => {
    expect(read(args)?.resourceVars).toEqual(vars);
  });

  test('takes the older --config-dir where there is no --work-dir', () => {
    expect(read(['--config-dir=/var/lib/dp'])?.workDir).toBe('/var/lib/dp');
    expect(read(['--config-dir=/var/lib/dp', '--work-dir=/run/dp'])?.workDir).toBe('/run/dp');
  });

  test.for<{ readonly argv: readonly string[] }>([
    { argv: [] },
    { argv: ['run'] },
    { argv: ['kuma-dp'] },
    { argv: ['kuma-dp', 'version'] },
    { argv: ['sleep', '60'] },
    { argv: ['sh', '-c', 'exec sleep 60'] },
  ])('does not take $argv for a kuma-dp', ({ argv }) => {
    expect(readKumaDpCommand(argv, { KUMA_DATAPLANE_NAME: 'a' })).toBeUndefined();
  });

  test.for<{ readonly argv: readonly string[] }>([
    { argv: ['/usr/bin/kuma-dp', 'run', '--name=a'] },
    { argv: ['sudo', '-u', 'kuma', 'kuma-dp', 'run', '--name=a'] },
    { argv: ['env', 'X=y', 'kuma-dp', '--log-level=debug', 'run', '--name=a'] },
  ])('finds the kuma-dp in $argv', ({ argv }) => {
    expect(readKumaDpCommand(argv, {})).toEqual({ ...DEFAULTS, name: 'a' });
  });
});

describe('readsStandardInput()', () => {
  test('is true for a resource at "-" and nothing else', () => {
    expect(readsStandardInput(read(['-d', '-']))).toBe(true);
    expect(readsStandardInput(read([], { KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH: '-' }))).toBe(true);
    expect(readsStandardInput(read(['-d', '-'], { KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH: 'x' }))).toBe(false);
    expect(readsStandardInput(read([]))).toBe(false);
    expect(readsStandardInput(undefined)).toBe(false);
  });
});

describe('asPreApplied()', () => {
  const key = { mesh: 'default', name: 'web-1' };
  const given = ['--name=web-1', '--mesh=default'];

  test.for<{ readonly args: readonly string[]; readonly kept: readonly string[] }>([
    { args: ['-d', 'dp.yaml'], kept: [] },
    { args: ['-d=dp.yaml', '--cp-address=https://cp:5678'], kept: ['--cp-address=https://cp:5678'] },
    { args: ['--dataplane-file', 'dp.yaml', '--drain-time', '5s'], kept: ['--drain-time', '5s'] },
    { args: ['--dataplane=type: Dataplane'], kept: [] },
    { args: ['-v', 'a=1', '--dataplane-var=b=2', '-vc=3'], kept: [] },
    { args: ['--name', 'x', '--mesh=y'], kept: [] },
    {
      args: ['--skip-verify', '-d', 'dp.yaml', '--dns-enabled=false'],
      kept: ['--skip-verify', '--dns-enabled=false'],
    },
    {
      args: ['--dataplane-token-file', '-d', '--dataplane-token=t'],
      kept: ['--dataplane-token-file', '-d', '--dataplane-token=t'],
    },
    { args: ['-d', 'dp.yaml', '--', '--name', 'z'], kept: ['--', '--name', 'z'] },
    { args: ['operand'], kept: ['operand'] },
  ])('$args keeps $kept', ({ args, kept }) => {
    expect(asPreApplied(['sudo', 'kuma-dp', 'run', ...args], {}, key).argv).toEqual([
      'sudo',
      'kuma-dp',
      'run',
      ...given,
      ...kept,
    ]);
  });

  test('drops from the environment what would override the name or bring the resource back, and nothing else', () => {
    const kept = {
      PATH: '/bin',
      KUMA_DATAPLANE_RUNTIME_TOKEN: 't',
      KUMA_DATAPLANE_DRAIN_TIME: '5s',
      KUMA_CONTROL_PLANE_URL: 'https://cp:5678',
    };
    const env = {
      ...kept,
      KUMA_DATAPLANE_NAME: 'x',
      KUMA_DATAPLANE_MESH: 'y',
      KUMA_DATAPLANE_RUNTIME_RESOURCE: 'type: Dataplane',
      KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH: 'dp.yaml',
    };
    expect(asPreApplied(['kuma-dp', 'run'], env, key).env).toEqual(kept);
  });

  test('makes a command that brings no resource and says who it is', () => {
    const { argv, env } = asPreApplied(['kuma-dp', 'run', '-d', '-', '-v', 'a=1'], {}, key);
    expect(readKumaDpCommand(argv, env)).toEqual({ ...DEFAULTS, ...key });
  });
});
