import { formatDuration } from './duration.ts';
import type { LogFields } from './log.ts';

/**
 * Characters that end a line, colour a terminal or change the direction of a text: control and format characters,
 * separators, and halves of surrogate pairs.
 */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
const NAMED_ESCAPES: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };
/** A value that needs no quotes. */
const PLAIN = /^[\p{L}\p{N}_.:/@+,%~[\]{}()<>|*;!?&#$^…-]+$/u;
/** In UTF-16 units, the ellipsis included. */
const LONGEST_VALUE = 160;
const ELLIPSIS = '…';

/** The text as one line: every character that could end the line is escaped. */
export function inOneLine(text: string): string {
  return text.replaceAll(UNSAFE, (character) => NAMED_ESCAPES[character] ?? escapeOf(character));
}

/** Escapes each line of a text for a terminal, part of which comes from another user or program. */
export function inLines(text: string): string {
  return text.split('\n').map(inOneLine).join('\n');
}

/**
 * JSON that a terminal can show: it escapes the characters that JSON allows and a terminal takes for a command.
 *
 * @param indent as of `JSON.stringify`
 */
export function inJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, undefined, indent).replaceAll(UNSAFE, (character) =>
    character === '\n' ? character : unitsOf(character).map(escapeUnit).join(''),
  );
}

function unitsOf(character: string): readonly number[] {
  return Array.from({ length: character.length }, (_, at) => character.charCodeAt(at));
}

function escapeUnit(unit: number): string {
  return `\\u${unit.toString(16).padStart(4, '0')}`;
}

function escapeOf(character: string): string {
  const hex = (character.codePointAt(0) ?? 0).toString(16);
  return hex.length <= 2 ? `\\x${hex.padStart(2, '0')}` : `\\u{${hex}}`;
}

/** At most `limit` UTF-16 units, and no half of a character at the end. */
export function cutTo(text: string, limit: number): string {
  if (text.length <= limit) return text;
  const kept = text.slice(0, limit - ELLIPSIS.length);
  const endsInHalf = /[\uD800-\uDBFF]$/.test(kept);
  return `${endsInHalf ? kept.slice(0, -1) : kept}${ELLIPSIS}`;
}

/**
 * Fields as `key=value`, for people: durations with a unit, quotes where needed. Omits nested values and values that
 * the sentence already contains.
 */
export function describeFields(fields: LogFields, sentence = ''): string {
  return Object.entries(fields)
    .flatMap(([key, value]) => {
      const text = valueText(key, value);
      if (text === undefined || text === '' || says(sentence, text)) return [];
      const name = key.endsWith('Ms') && typeof value === 'number' ? key.slice(0, -2) : key;
      return [`${inOneLine(name)}=${quoted(cutTo(text, LONGEST_VALUE))}`];
    })
    .join(' ');
}

/** A short value may occur in the sentence by chance. */
const TELLING_LENGTH = 4;

function says(sentence: string, text: string): boolean {
  return text.length >= TELLING_LENGTH && sentence.includes(text);
}

function valueText(key: string, value: unknown): string | undefined {
  if (Array.isArray(value)) {
    return value
      .map((item: unknown) => valueText('', item))
      .filter((text) => text !== undefined)
      .join(',');
  }
  if (value instanceof URL) return value.href;
  if (typeof value === 'string') return value;
  if (typeof value === 'number' && key.endsWith('Ms') && value >= 0) return roughDuration(value);
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') {
    return String(value);
  }
  return undefined;
}

function quoted(text: string): string {
  return PLAIN.test(text) ? text : inOneLine(`"${text.replaceAll(/["\\]/g, '\\$&')}"`);
}

/** A rounded duration for people: `8ms`, `510ms`, `2.25s`, `1m5s`. */
export function roughDuration(durationMs: number): string {
  if (!Number.isFinite(durationMs)) return String(durationMs);
  return formatDuration(durationMs < 1_000 ? Math.round(durationMs) : Math.round(durationMs / 10) * 10);
}
