import { stat } from 'node:fs/promises';

import mustache from 'mustache';

import { describeError, OperationalError } from '../../kernel/errors.ts';
import { DataplaneResource } from '../../kuma/dataplane.ts';
import { readRegularFile } from '../../program/regular-file.ts';
import { asDataplaneDocument, refusalOf } from './dataplane-document.pure.ts';
import { readAsGo } from './go-yaml.io.ts';
import { readsStandardInput, type KumaDpCommand } from './kuma-dp-command.pure.ts';

/** The Dataplane of a large gateway is a few kilobytes; a larger file is not a Dataplane. */
const MAX_TEMPLATE_BYTES = 1024 * 1024;

export interface RenderedTemplate {
  /** What it was read from, for messages. */
  readonly source: string;
  /** `undefined`: the command names no resource. */
  readonly resource: DataplaneResource | undefined;
  /** Unset variables that the template uses: kuma-dp renders them as nothing. */
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
    // Checks the kind of file before it opens it: a FIFO gives its bytes to its first reader.
    if (!(await stat(path)).isFile())
      throw new TypeError('not a regular file: only kuma-dp can read it, and only once');
    return await readRegularFile(path, { mostBytes: MAX_TEMPLATE_BYTES });
  } catch (cause) {
    throw new OperationalError('CONFIG_INVALID', `Cannot read Dataplane file "${path}"`, { cause });
  }
}

function decode(source: string, bytes: Uint8Array): string {
  if (bytes.length > MAX_TEMPLATE_BYTES) {
    throw unreadable(source, `it is larger than ${MAX_TEMPLATE_BYTES} bytes`);
  }
  const encoding = encodingOf(bytes);
  let text: string;
  try {
    text = new TextDecoder(encoding, { fatal: true, ignoreBOM: encoding === 'utf-8' }).decode(bytes);
  } catch {
    throw unreadable(source, `it is not ${encoding.toUpperCase()}`);
  }
  // kuma-dp fills in variables before it looks for an encoding, so it finds none of them.
  if (encoding !== 'utf-8' && text.includes('{{'))
    throw unreadable(source, 'kuma-dp renders no template in UTF-16');
  return text;
}

/** By the byte order mark, as YAML has it. */
function encodingOf([first, second]: Uint8Array): 'utf-8' | 'utf-16le' | 'utf-16be' {
  if (first === 0xff && second === 0xfe) return 'utf-16le';
  return first === 0xfe && second === 0xff ? 'utf-16be' : 'utf-8';
}

function unreadable(source: string, reason: string): OperationalError {
  return new OperationalError('CONFIG_INVALID', `Cannot read ${source}: ${reason}`);
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

/** `a.b=1` is the value of `{{ a.b }}`: dots nest. */
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
  const parsed = DataplaneResource.safeParse(asDataplaneDocument(parse(source, rendered)));
  const [issue] = parsed.error?.issues ?? [];
  const place = issue === undefined || issue.path.length === 0 ? 'the whole' : issue.path.join('.');
  const fault = parsed.success ? refusalOf(parsed.data) : `${place}: ${issue?.message ?? 'not a Dataplane'}`;
  if (parsed.success && fault === undefined) return parsed.data;
  throw new OperationalError('CONFIG_INVALID', `Cannot use ${source}: ${fault}`);
}

function parse(source: string, rendered: string): unknown {
  try {
    return readAsGo(rendered);
  } catch (error) {
    const [reason] = describeError(error).split('\n');
    throw new OperationalError('CONFIG_INVALID', `Cannot parse ${source}: ${reason}`);
  }
}
