import { readFileSync } from 'node:fs';

import { RESOURCE_TYPES } from '../bootstrap-protocol.ts';
import { type Fields } from '../store.ts';
import { type Configuration } from './configuration.ts';
import { CommandError } from './flags.ts';
import { log } from './log.ts';

export interface GivenResource {
  readonly mesh: string;
  readonly name: string;
  /** As kuma-dp sends it to the control plane: JSON with zero times. */
  readonly json: string;
}

const STDIN = 0;
const META_FIELDS = new Set(['type', 'mesh', 'name', 'creationTime', 'modificationTime', 'kri']);
const ZERO_TIME = '0001-01-01T00:00:00Z';

/**
 * The resource given by file, standard input or flag, its template rendered; `undefined` if none was given.
 *
 * @throws {@link CommandError} in kuma-dp's words
 */
export async function readResource(configuration: Configuration): Promise<GivenResource | undefined> {
  const text = readText(configuration);
  if (text === '') return undefined;
  const rendered = await renderTemplate(text, configuration.resourceVars);
  log('INFO', 'rendered resource', { resource: rendered });
  const resource = await parseResource(rendered);
  const { type, mesh, name } = checkMeta(resource, configuration);
  const { labels, ...spec } = Object.fromEntries(
    Object.entries(resource).filter(([field]) => !META_FIELDS.has(field)),
  );
  const json = JSON.stringify({
    type,
    ...(mesh === '' ? {} : { mesh }),
    name,
    creationTime: ZERO_TIME,
    modificationTime: ZERO_TIME,
    ...(labels === undefined ? {} : { labels }),
    ...(type === 'Dataplane' ? { kri: `kri_dp_${mesh}___${name}_` } : {}),
    ...spec,
  });
  return { mesh, name, json };
}

interface Meta {
  readonly type: string;
  readonly mesh: string;
  readonly name: string;
}

function checkMeta(resource: Fields, configuration: Configuration): Meta {
  const { type, mesh = '', name } = resource;
  const expected = RESOURCE_TYPES[configuration.proxyType];
  if (type !== expected) {
    throw new CommandError(`invalid proxy resource type ${JSON.stringify(type)}, expected ${expected}`);
  }
  if (configuration.name !== '' || configuration.mesh !== '') {
    throw new CommandError(
      '--name and --mesh cannot be specified when a dataplane definition is provided, mesh and name will be read from the dataplane definition',
    );
  }
  if (typeof name !== 'string' || name === '') throw new CommandError('name: cannot be empty');
  if (typeof mesh !== 'string' || (expected === 'Dataplane' && mesh === '')) {
    throw new CommandError('mesh: cannot be empty');
  }
  return { type: expected, mesh, name };
}

function readText({ resourcePath, resource }: Configuration): string {
  if (resourcePath === '') return resource;
  if (resourcePath === '-') return readFileSync(STDIN, 'utf8');
  try {
    return readFileSync(resourcePath, 'utf8');
  } catch {
    throw new CommandError(
      `error while reading provided file: open ${resourcePath}: no such file or directory`,
    );
  }
}

/**
 * What github.com/hoisie/mustache looks up by a name that no variable can have, and so renders as nothing: it does not
 * trim the name of a raw tag, and knows no `&`.
 */
const NAMELESS = /\{\{\{(?:\s[^}]*|[^}]*\s)\}\}\}|\{\{\s*&[^}]*\}\}/g;

/** Mustache with dots in variable names as levels, and Go's five HTML escapes. */
async function renderTemplate(template: string, variables: string): Promise<string> {
  if (!template.includes('{{')) return template;
  const text = template.replaceAll(NAMELESS, '');
  const { default: mustache } = await import('mustache');
  const view: Record<string, unknown> = {};
  for (const pair of variables.split(',').filter((one) => one !== '')) {
    const [key = '', ...value] = pair.split('=');
    assign(view, key.split('.'), value.join('='));
  }
  return mustache.render(text, view, {}, { escape: (value: unknown) => escapeHtml(String(value)) });
}

function assign(view: Record<string, unknown>, path: readonly string[], value: string): void {
  const [field = '', ...rest] = path;
  if (rest.length === 0) {
    view[field] = value;
    return;
  }
  const nested = (typeof view[field] === 'object' ? view[field] : {}) as Record<string, unknown>;
  view[field] = nested;
  assign(nested, rest, value);
}

function escapeHtml(text: string): string {
  const escapes: Readonly<Record<string, string>> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&#34;',
    "'": '&#39;',
  };
  return text.replaceAll(/[&<>"']/g, (character) => escapes[character] ?? character);
}

/** JSON is parsed without the YAML parser, which takes longer to load than the rest of the start. */
async function parseResource(text: string): Promise<Fields> {
  let value: unknown;
  try {
    value = text.trimStart().startsWith('{') ? JSON.parse(text) : (await import('yaml')).parse(text);
  } catch (error) {
    throw new CommandError(`invalid resource: ${(error as Error).message.split('\n')[0] ?? ''}`);
  }
  if (typeof value !== 'object' || value === null) throw new CommandError('invalid resource: not an object');
  return value as Fields;
}
