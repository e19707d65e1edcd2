import { stat } from 'node:fs/promises';

import mustache from 'mustache';
import { parseAllDocuments, type Document, type ScalarTag, type Tags } from 'yaml';

import { OperationalError } from '../../kernel/errors.ts';
import { DataplaneResource } from '../../kuma/dataplane.ts';
import { readRegularFile } from '../../program/regular-file.ts';
import { asDataplaneDocument } from './dataplane-document.pure.ts';
import { readsStandardInput, type KumaDpCommand } from './kuma-dp-command.pure.ts';

/** A Dataplane of a large gateway is a few kilobytes; what is larger than this is not one. */
const MAX_TEMPLATE_BYTES = 1024 * 1024;

export interface RenderedTemplate {
  /** What it was read from, for messages. */
  readonly source: string;
  /** `undefined`: the command names no resource. */
  readonly resource: DataplaneResource | undefined;
  /** Variables that the template uses and that are not set: kuma-dp renders them as nothing. */
  readonly unset: readonly string[];
}

/**
 * Reads, renders and parses the resource as kuma-dp will.
 *
 * @param stdin the bytes that kuma-dp will get on its standard input
 * @throws `CONFIG_INVALID` that names the file and the place
 * @see kuma 2.14.3: app/kuma-dp/cmd/dataplane.go, pkg/util/template/render.go
 */
export async function readDataplaneTemplate(
  command: KumaDpCommand,
  stdin: Promise<Uint8Array> | undefined,
): Promise<RenderedTemplate> {
  const { source, text } = await readTemplate(command, stdin);
  if (text === '') return { source, resource: undefined, unset: [] };
  const unset = unsetVariables(source, text, command.resourceVars);
  return { source, resource: parseResource(source, render(text, command.resourceVars)), unset };
}

async function readTemplate(
  command: KumaDpCommand,
  stdin: Promise<Uint8Array> | undefined,
): Promise<{ readonly source: string; readonly text: string }> {
  const path = command.resourcePath;
  if (path === '') return { source: 'the inline resource (--dataplane)', text: command.resource };
  if (readsStandardInput(command)) {
    const source = 'the resource on standard input';
    return { source, text: decode(source, (await stdin) ?? new Uint8Array()) };
  }
  return { source: `"${path}"`, text: decode(`"${path}"`, await readFile(path)) };
}

async function readFile(path: string): Promise<Uint8Array> {
  try {
    // Looks before it opens: a FIFO gives its bytes to its first reader.
    if (!(await stat(path)).isFile())
      throw new TypeError('not a regular file: only kuma-dp can read it, and only once');
    return await readRegularFile(path, { mostBytes: MAX_TEMPLATE_BYTES });
  } catch (cause) {
    throw new OperationalError('CONFIG_INVALID', `Cannot read Dataplane file "${path}"`, { cause });
  }
}

function decode(source: string, bytes: Uint8Array): string {
  if (bytes.length <= MAX_TEMPLATE_BYTES) return new TextDecoder().decode(bytes);
  throw new OperationalError(
    'CONFIG_INVALID',
    `Cannot read ${source}: it is larger than ${MAX_TEMPLATE_BYTES} bytes`,
  );
}

/** Escapes as Go's html/template, not as mustache.js. */
const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&#34;',
  "'": '&#39;',
};

/**
 * Raw tags that kuma-dp's mustache takes for names that are not set: by an ampersand, or with blanks inside.
 *
 * @see https://github.com/hoisie/mustache: `parse`, which trims every tag but this one
 */
const UNKNOWN_RAW_TAGS = /\{\{\s*&[^}]*\}\}|\{\{\{(?:\s[^}]*|[^}]*\s)\}\}\}/g;

function render(text: string, vars: Readonly<Record<string, string>>): string {
  return mustache.render(text.replaceAll(UNKNOWN_RAW_TAGS, ''), nested(vars), undefined, {
    escape: (value: unknown) =>
      String(value).replace(/[&<>"']/g, (character) => ESCAPES[character] ?? character),
  });
}

/** `a.b=1` is read by `{{ a.b }}`: dots nest. */
function nested(vars: Readonly<Record<string, string>>): Record<string, unknown> {
  const root: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(vars)) {
    const path = key.split('.');
    const leaf = path.pop() ?? key;
    let at = root;
    for (const part of path) {
      const next = at[part];
      const inner = typeof next === 'object' && next !== null ? (next as Record<string, unknown>) : {};
      at[part] = inner;
      at = inner;
    }
    at[leaf] = value;
  }
  return root;
}

function unsetVariables(
  source: string,
  text: string,
  vars: Readonly<Record<string, string>>,
): readonly string[] {
  let tokens: ReturnType<typeof mustache.parse>;
  try {
    tokens = mustache.parse(text);
  } catch (cause) {
    throw new OperationalError('CONFIG_INVALID', `Cannot render ${source}`, { cause });
  }
  const unknown = text.match(UNKNOWN_RAW_TAGS) ?? [];
  const used = tokens.filter(([kind]) => kind === 'name' || kind === '&').map(([, name]) => name);
  return [...new Set([...used.filter((name) => !(name in vars)), ...unknown])];
}

function parseResource(source: string, rendered: string): DataplaneResource {
  const document = firstDocument(rendered);
  const [error] = document?.errors ?? [];
  if (error !== undefined) {
    throw new OperationalError('CONFIG_INVALID', `Cannot parse ${source}: ${error.message.split('\n')[0]}`);
  }
  const parsed = DataplaneResource.safeParse(asDataplaneDocument(document?.toJS()));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const place = issue === undefined || issue.path.length === 0 ? 'the whole' : issue.path.join('.');
  throw new OperationalError(
    'CONFIG_INVALID',
    `Cannot use ${source}: ${place}: ${issue?.message ?? 'not a Dataplane'}`,
  );
}

/** The forms of YAML 1.1; the parser knows only those of 1.2. */
const LINE_BREAKS = /\r(?!\n)|[\u0085\u2028\u2029]/g;

/**
 * kuma-dp reads the first document of several and, of a key that is given twice, the last value.
 *
 * @see sigs.k8s.io/yaml 1.6.0, which parses with go.yaml.in/yaml/v2
 */
function firstDocument(text: string): Document | undefined {
  const documents = parseAllDocuments(text.replaceAll(LINE_BREAKS, '\n'), {
    version: '1.1',
    customTags: asGoResolves,
    uniqueKeys: false,
    prettyErrors: true,
  });
  return Array.isArray(documents) ? documents[0] : undefined;
}

/** Octal as YAML 1.2 writes it, which Go reads beside that of 1.1. */
const OCTAL: ScalarTag = {
  tag: 'tag:yaml.org,2002:int',
  default: true,
  test: /^[-+]?0o[0-7]+$/,
  resolve: (text) => Number(text.replace(/^[-+]/, '')) * (text.startsWith('-') ? -1 : 1),
};

/** YAML 1.1 as Go has it (`no` is a boolean, `010` is eight), where a date and a time of day are texts. */
function asGoResolves(tags: Tags): Tags {
  const kept = tags.filter(
    (tag) => typeof tag === 'string' || !(tag.tag === 'tag:yaml.org,2002:timestamp' || tag.format === 'TIME'),
  );
  return [OCTAL, ...kept];
}
