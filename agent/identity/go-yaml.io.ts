import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  parseAllDocuments,
  visit,
  type Alias,
  type Document,
  type Node,
  type Scalar,
  type YAMLError,
  type YAMLMap,
} from 'yaml';

import { asGoScalar } from './go-scalar.pure.ts';

/** Forms of YAML 1.1; the parser knows only those of 1.2. */
const LINE_BREAKS = /\r(?!\n)|[\u0085\u2028\u2029]/g;
/** kuma-dp's reader refuses them wherever they are, in comments too. */
// oxlint-disable-next-line no-control-regex -- control characters are what it is about
const FORBIDDEN = /[^\t\n\r\u0020-\u007e\u0085\u00a0-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u;
/** Values read, aliases resolved: Go refuses a document beyond about as many. */
const MOST_VALUES = 400_000;
const MERGE = 'tag:yaml.org,2002:merge';

/**
 * Reads YAML or JSON as kuma-dp does: the first document counts, and of a key that is given twice the last value.
 *
 * The `yaml` package splits the text into nodes; what a node means is decided here, since Go merges keys (`<<`) in the
 * order in which they are written and knows other scalars.
 *
 * @throws an error that says why kuma-dp or the agent cannot read it
 * @see sigs.k8s.io/yaml 1.6.0, which parses with go.yaml.in/yaml/v2
 */
export function readAsGo(text: string): unknown {
  if (FORBIDDEN.test(text)) throw new TypeError('control characters are not allowed');
  const documents = parseAllDocuments(text.replaceAll(LINE_BREAKS, '\n'), {
    version: '1.1',
    schema: 'failsafe',
    uniqueKeys: false,
    prettyErrors: true,
  });
  const document = Array.isArray(documents) ? documents[0] : undefined;
  if (document === undefined) return undefined;
  const error = document.errors.find((fault) => isFaultToGo(fault, document));
  if (error !== undefined) throw error;
  return new GoReader(document).read(document.contents);
}

/** Go stops behind a first document in braces. */
function isFaultToGo(fault: YAMLError, { contents }: Document): boolean {
  const inBraces = (isMap(contents) || isSeq(contents)) && contents.flow === true;
  const isBehind = inBraces && fault.pos[0] >= (contents.range?.[1] ?? Infinity);
  return !isBehind || fault.code !== 'UNEXPECTED_TOKEN';
}

class GoReader {
  readonly #targets: ReadonlyMap<Alias, Node>;
  readonly #inside = new Set<unknown>();
  #values = 0;

  constructor(document: Document) {
    this.#targets = targetsOf(document);
  }

  read(node: unknown): unknown {
    if (++this.#values > MOST_VALUES) throw new RangeError('it has too many aliases');
    if (isScalar(node)) return asGoScalar(written(node));
    if (isAlias(node)) return this.#within(node, () => this.read(this.#target(node)));
    if (isSeq(node)) return node.items.map((item) => this.read(item));
    if (!isMap(node)) return null;
    const entries = new Map<string, unknown>();
    this.#addAll(entries, node);
    return Object.fromEntries(entries);
  }

  /** Later keys win over earlier ones, wherever either comes from. */
  #addAll(entries: Map<string, unknown>, map: YAMLMap): void {
    for (const { key, value } of map.items) {
      if (isMerge(key)) this.#merge(entries, value);
      else entries.set(asKey(this.read(key)), this.read(value));
    }
  }

  /** Of several maps the first one wins. */
  #merge(entries: Map<string, unknown>, source: unknown): void {
    const maps = isSeq(source) ? source.items.toReversed() : [source];
    for (const map of maps) {
      const target = isAlias(map) ? this.#target(map) : map;
      if (!isMap(target)) throw new TypeError('"<<" needs a map, or a list of maps');
      this.#within(map, () => this.#addAll(entries, target));
    }
  }

  #target(alias: Alias): Node {
    const target = this.#targets.get(alias);
    if (target === undefined)
      throw new TypeError(`the alias *${alias.source.slice(0, 20)} names no anchor before it`);
    return target;
  }

  #within<T>(node: unknown, work: () => T): T {
    if (this.#inside.has(node)) throw new TypeError('an anchor contains itself');
    this.#inside.add(node);
    try {
      return work();
    } finally {
      this.#inside.delete(node);
    }
  }
}

/** An alias stands for the latest anchor of its name that is written before it. */
function targetsOf(document: Document): ReadonlyMap<Alias, Node> {
  const anchors = new Map<string, Node>();
  const targets = new Map<Alias, Node>();
  visit(document, {
    Alias(_, alias) {
      const target = anchors.get(alias.source);
      if (target !== undefined) targets.set(alias, target);
    },
    Value(_, node) {
      if (node.anchor !== undefined) anchors.set(node.anchor, node);
    },
  });
  return targets;
}

function written(scalar: Scalar): Parameters<typeof asGoScalar>[0] {
  const text = typeof scalar.value === 'string' ? scalar.value : '';
  return { text, tag: scalar.tag, plain: (scalar.type ?? 'PLAIN') === 'PLAIN' };
}

function isMerge(key: unknown): boolean {
  if (!isScalar(key) || key.value !== '<<') return false;
  return key.tag === undefined ? key.type === 'PLAIN' : key.tag === MERGE;
}

function asKey(key: unknown): string {
  if (typeof key === 'string') return key;
  if (typeof key === 'number' || typeof key === 'boolean') return String(key);
  throw new TypeError('a key is neither a text nor a number');
}
