import type { Finding } from '../../kernel/findings.ts';
import { environmentName } from '../../kernel/options.ts';
import { readRegularFileSync } from '../../program/regular-file.ts';
import { readCommandLine } from '../../program/command-line.ts';
import { ENV_PREFIX, RUN_OPTIONS } from '../options.ts';
import { processFacts } from '../systemd/process-facts.io.ts';
import type { FoundUnit } from './doctor-unit.ts';
import { environmentNames, judgeSettings, usualFiles } from './settings-findings.pure.ts';

/** The sources of the running agent's settings. */
export function examineSettings({ settings, agentPid }: FoundUnit): readonly Finding[] {
  if (settings === undefined || settings.loadState !== 'loaded') return [];
  const { id: unitId, environmentFiles, environment } = settings;
  const paths = new Set([...environmentFiles, ...usualFiles(unitId)]);
  const texts = new Map(
    [...paths].flatMap((path) => {
      const text = textOf(path);
      return text === undefined ? [] : [[path, text] as const];
    }),
  );
  const agent = agentPid === undefined ? undefined : processFacts(agentPid);
  const env = agent?.env;
  const known = Object.values(RUN_OPTIONS).map(({ flag }) => environmentName(ENV_PREFIX, flag));
  const variables = env === undefined ? undefined : known.filter((name) => env[name] !== undefined);
  return judgeSettings({
    unitId,
    environmentFiles,
    environment: environmentNames(environment),
    texts,
    flags: flagsOf(agent?.argv ?? []),
    variables,
  });
}

function flagsOf(argv: readonly string[]): readonly string[] {
  const run = argv.indexOf('run', 1);
  if (run === -1) return [];
  const { flags } = readCommandLine(RUN_OPTIONS, argv.slice(run + 1));
  return [...flags.keys()].map((flag) => `--${flag}`);
}

function textOf(path: string): string | undefined {
  try {
    return readRegularFileSync(path).toString('utf8');
  } catch {
    return undefined;
  }
}
