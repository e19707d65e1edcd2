import { type Answer, errorAnswer } from './rest-errors.ts';
import { type StoredObject } from './store.ts';
import { type VersionTraits } from './version-traits.ts';

const DEFAULT_SIZE = 100;
const MAX_SIZE = 1_000;

export interface ListRequest {
  readonly url: URL;
  readonly traits: VersionTraits;
  readonly view: (object: StoredObject) => unknown;
}

/** Offset paging as Kuma does it: the next offset is a count, so deletions in between make a reader skip objects. */
export function listAnswer(objects: readonly StoredObject[], request: ListRequest): Answer {
  const { url, traits, view } = request;
  const size = pageSize(url.searchParams.get('size') ?? '', traits);
  if (typeof size !== 'number') return size;
  const matching = objects.filter((object) => matches(object, url.searchParams));
  const offset = Number(url.searchParams.get('offset') ?? '0');
  if (!Number.isInteger(offset) || offset < 0) {
    return errorAnswer({ status: 400, title: 'Could not retrieve resources', detail: 'Invalid offset' });
  }
  const end = offset + size;
  return {
    status: 200,
    body: {
      total: matching.length,
      items: matching.slice(offset, end).map((object) => view(object)),
      next: end < matching.length ? nextUrl(url, end) : null,
    },
  };
}

function pageSize(text: string, traits: VersionTraits): number | Answer {
  if (text === '') return DEFAULT_SIZE;
  if (!/^[+-]?\d+$/.test(text)) return invalidPageSize('invalid format');
  const size = Number(text);
  if (size > MAX_SIZE)
    return invalidPageSize(`invalid page size of ${size}. Maximum page size is ${MAX_SIZE}`);
  if (size <= 0 && traits.checksSmallPages) return invalidPageSize('must be greater than 0');
  return Math.max(0, size);
}

function invalidPageSize(reason: string): Answer {
  return errorAnswer({
    status: 400,
    title: 'Could not retrieve resources',
    detail: 'Invalid page size',
    violations: [{ field: 'size', reason }],
  });
}

/** `?name=` (substring) and `?filter[labels.KEY]=`; Kuma knows more. */
function matches(object: StoredObject, query: URLSearchParams): boolean {
  if (!object.name.includes(query.get('name') ?? '')) return false;
  for (const [key, value] of query) {
    const label = /^filter\[labels\.(.+)\]$/.exec(key)?.[1];
    if (label !== undefined && object.labels[label] !== value) return false;
  }
  return true;
}

function nextUrl(url: URL, offset: number): string {
  const query = new URLSearchParams(url.searchParams);
  query.set('offset', String(offset));
  query.sort();
  return `${url.origin}${url.pathname}?${query.toString()}`;
}
