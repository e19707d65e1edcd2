/** A plain, quoted or tagged scalar of YAML, as it is written. */
export interface WrittenScalar {
  readonly text: string;
  /** In full, `tag:yaml.org,2002:int`; `undefined` if the scalar has none. */
  readonly tag: string | undefined;
  /** Neither quoted nor a block. */
  readonly plain: boolean;
}

const CORE = 'tag:yaml.org,2002:';
const KINDS = ['int', 'float', 'bool', 'null', 'timestamp'] as const;
type Kind = (typeof KINDS)[number] | 'str' | 'merge';

interface Resolved {
  readonly kind: Kind;
  readonly value: unknown;
}

const WORDS: ReadonlyMap<string, Resolved> = new Map([
  ...inCases(['y', 'yes', 'true', 'on'], { kind: 'bool', value: true }),
  ...inCases(['n', 'no', 'false', 'off'], { kind: 'bool', value: false }),
  ...inCases(['null'], { kind: 'null', value: null }),
  ...inCases(['.inf', '+.inf'], { kind: 'float', value: Infinity }),
  ...inCases(['-.inf'], { kind: 'float', value: -Infinity }),
  ...['', '~'].map((word) => [word, { kind: 'null', value: null }] as const),
  ...['.nan', '.NaN', '.NAN'].map((word) => [word, { kind: 'float', value: Number.NaN }] as const),
  ['<<', { kind: 'merge', value: '<<' }],
]);

const TIMESTAMP = /^\d{4}-\d{1,2}-\d{1,2}([Tt ].*)?$/;
const INTEGER = /^[-+]?(0[bB][01]+|0[oO]?[0-7]+|0[xX][\da-fA-F]+|0|[1-9]\d*)$/;
const FLOAT = /^[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?$/;
/** Go looks for a number only behind one of these. */
const NUMBER_START = /^[-+.\d]/;
const LEAST_INT64 = -(2n ** 63n);
const MOST_UINT64 = 2n ** 64n - 1n;

/**
 * The value that kuma-dp's YAML library reads. Dates stay texts, and so do numbers that Go cannot hold.
 *
 * @throws `TypeError` for a value that its tag does not allow
 * @see go.yaml.in/yaml/v2 2.4.2: resolve.go, and decode.go `scalar`
 */
export function asGoScalar({ text, tag, plain }: WrittenScalar): unknown {
  if (tag === undefined) return plain ? resolve(text, true).value : text;
  if (tag === `${CORE}binary`) return fromBase64(text);
  const wanted = KINDS.find((kind) => tag === CORE + kind);
  if (wanted === undefined) return text;
  const { kind, value } = resolve(text, wanted === 'timestamp');
  if (kind === wanted || (wanted === 'float' && kind === 'int')) return value;
  throw new TypeError(`cannot read "${text.slice(0, 20)}" as !!${wanted}`);
}

function resolve(text: string, dates: boolean): Resolved {
  const word = WORDS.get(text);
  if (word !== undefined) return word;
  if (!NUMBER_START.test(text)) return { kind: 'str', value: text };
  if (dates && TIMESTAMP.test(text)) return { kind: 'timestamp', value: text };
  return numberOf(text) ?? { kind: 'str', value: text };
}

function numberOf(text: string): Resolved | undefined {
  const digits = text.startsWith('.') ? text : text.replaceAll('_', '');
  const integer = integerOf(digits);
  if (integer !== undefined) return { kind: 'int', value: integer };
  const float = FLOAT.test(digits) ? Number(digits) : Infinity;
  return Number.isFinite(float) ? { kind: 'float', value: float } : undefined;
}

function integerOf(digits: string): number | undefined {
  if (!INTEGER.test(digits)) return undefined;
  // Go takes a leading zero for octal, BigInt for decimal.
  const unsigned = digits.replace(/^[-+]/, '').replace(/^0[oO]?(?=[0-7])/, '0o');
  const value = BigInt(unsigned) * (digits.startsWith('-') ? -1n : 1n);
  return value < LEAST_INT64 || value > MOST_UINT64 ? undefined : Number(value);
}

function fromBase64(text: string): string {
  const compact = text.replaceAll(/[\r\n]/g, '');
  if (!/^([\w+/]{4})*([\w+/]{2}==|[\w+/]{3}=)?$/.test(compact) || compact.includes('_')) {
    throw new TypeError('a !!binary value is not Base64');
  }
  return new TextDecoder().decode(Uint8Array.from(atob(compact), (byte) => byte.codePointAt(0) ?? 0));
}

/** As YAML 1.1 writes words: `yes`, `Yes`, `YES`. */
function inCases(words: readonly string[], resolved: Resolved): readonly (readonly [string, Resolved])[] {
  return words.flatMap((word) =>
    [word, titled(word), word.toUpperCase()].map((written) => [written, resolved] as const),
  );
}

function titled(word: string): string {
  return word.replace(/[a-z]/, (letter) => letter.toUpperCase());
}
