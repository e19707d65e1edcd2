import type { Finding } from '../../kernel/findings.ts';

export interface SettingsGiven {
  readonly unitId: string;
  /** What `EnvironmentFile=` names, in systemd's order. */
  readonly environmentFiles: readonly string[];
  /** The names that `Environment=` sets. */
  readonly environment: readonly string[];
  /** The text of those files and of the usual ones, by path; only files that exist and may be read. */
  readonly texts: ReadonlyMap<string, string>;
  /** The agent's flags in the command, without values. */
  readonly flags: readonly string[];
  /** The agent's own variables at its start; `undefined` if this user may not read them. */
  readonly variables: readonly string[] | undefined;
}

/** Whose variables the usual files are for. */
const OWN = /^(KUMA_|KUMA_DP_AGENT_)/;

/**
 * Where each setting of the agent comes from, and which files no program reads. Values are left out, because some are
 * secret.
 */
export function judgeSettings(given: SettingsGiven): readonly Finding[] {
  return [describeSettings(given), ...unreadFiles(given), ...lateVariables(given)];
}

function describeSettings({ flags, variables, ...sources }: SettingsGiven): Finding {
  const about = 'settings';
  if (variables === undefined)
    return { level: 'unseen', about, says: 'no agent runs, or this user may not read its environment' };
  const said = [
    ...flags.map((flag) => `${flag} (command line)`),
    ...variables.map((name) => `${name} (${sourceOf(name, sources)})`),
  ];
  return {
    level: 'ok',
    about,
    says: said.length === 0 ? 'none: every setting has its default' : said.join(', '),
  };
}

/** systemd reads `Environment=` first, then each file; what comes later wins. */
function sourceOf(
  name: string,
  { environmentFiles, environment, texts }: Pick<SettingsGiven, 'environmentFiles' | 'environment' | 'texts'>,
): string {
  const file = environmentFiles.findLast((path) => assigned(texts.get(path)).includes(name));
  return file ?? (environment.includes(name) ? 'Environment= of the unit' : "the agent's environment");
}

function unreadFiles({ unitId, environmentFiles, texts }: SettingsGiven): readonly Finding[] {
  return [...texts].flatMap(([path, text]) => {
    const names = assigned(text).filter((name) => OWN.test(name));
    if (environmentFiles.includes(path) || names.length === 0) return [];
    return [
      {
        level: 'warning',
        about: path,
        says: `${unitId} does not read it, so it changes nothing: ${names.join(', ')}`,
        remedy: `EnvironmentFile=-${path} in the unit (systemctl edit ${unitId}), or remove the file`,
      } as const,
    ];
  });
}

/** The file is newer than the agent's start, or systemd does not understand a line of it. */
function lateVariables({ unitId, environmentFiles, texts, variables }: SettingsGiven): readonly Finding[] {
  if (variables === undefined) return [];
  return [...new Set(environmentFiles)].flatMap((path) => {
    const late = assigned(texts.get(path)).filter(
      (name) => name.startsWith('KUMA_DP_AGENT_') && !variables.includes(name),
    );
    return late.length === 0
      ? []
      : [
          {
            level: 'warning',
            about: path,
            says: `the agent was started without ${late.join(', ')}: a change applies from the next start`,
            remedy: `systemctl restart ${unitId}`,
          } as const,
        ];
  });
}

/** The names that an environment file assigns, as systemd.exec(5) reads it: no `export`, comments with # or ;. */
function assigned(text = ''): readonly string[] {
  return text.split('\n').flatMap((line) => /^\s*([A-Za-z_]\w*)=/.exec(line)?.[1] ?? []);
}

/** The names that `systemctl show` prints for `Environment=`: words, quoted if they contain blanks. */
export function environmentNames(text: string): readonly string[] {
  const words = text.match(/"(?:[^"\\]|\\.)*"|\S+/g) ?? [];
  return words.flatMap((word) => /^"?([A-Za-z_]\w*)=/.exec(word)?.[1] ?? []);
}

/**
 * The usual files of the agent's and kuma-dp's settings: in Debian's folder and in RPM's, and for one of several units.
 */
export function usualFiles(unitId: string): readonly string[] {
  const instance = /@(.+)\.service$/.exec(unitId)?.[1];
  const names = ['kuma-dp-agent', 'kuma-dp', ...(instance === undefined ? [] : [`kuma-dp-${instance}`])];
  return ['/etc/default', '/etc/sysconfig'].flatMap((folder) => names.map((name) => `${folder}/${name}`));
}
