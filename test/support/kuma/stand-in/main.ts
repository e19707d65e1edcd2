/** Stand-in for `kuma-dp`: its command line, signals and exit codes, around a real Envoy. */
import { loadConfiguration } from './configuration.ts';
import { CommandError, parseFlags } from './flags.ts';
import { print } from './log.ts';
import { run } from './run.ts';

const STDOUT = 1;
const STDERR = 2;
/** The version that `kuma-dp version` prints. The control plane's version decides everything else. */
const VERSION = process.env['KUMA_STAND_IN_VERSION'] ?? '2.14.3';

async function main(argv: readonly string[]): Promise<number> {
  const [command, ...rest] = argv;
  switch (command) {
    case 'version':
      print(STDOUT, `Kuma: ${VERSION}\n`);
      return 0;
    case 'run':
      return runCommand(rest);
    case undefined:
    case '-h':
    case '--help':
    case 'help':
      print(STDOUT, 'Dataplane manager for Envoy-based Service Mesh.\n\nUsage:\n  kuma-dp [command]\n');
      return 0;
    default:
      print(
        STDERR,
        `Error: unknown command ${JSON.stringify(command)} for "kuma-dp"\nRun 'kuma-dp --help' for usage.\n`,
      );
      return 1;
  }
}

async function runCommand(argv: readonly string[]): Promise<number> {
  if (argv.includes('--help') || argv.includes('-h')) {
    print(STDOUT, 'Launch Dataplane (Envoy).\n\nUsage:\n  kuma-dp run [flags]\n');
    return 0;
  }
  let usage = 'Usage:\n  kuma-dp run [flags]\n\n';
  try {
    const flags = parseFlags(argv);
    usage = '';
    return await run(loadConfiguration(flags, process.env, VERSION));
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    print(STDERR, `Error: ${error.message}\n`);
    print(STDOUT, usage);
    return 1;
  }
}

// oxlint-disable-next-line unicorn/no-process-exit -- nothing that still runs may hold up the end
process.exit(await main(process.argv.slice(2)));
