import dns from 'node:dns';
import { isIP } from 'node:net';

/** Three of libuv's four default threads; the fourth stays free for files. */
const AT_ONCE = 3;

type NameAnswer = (error: NodeJS.ErrnoException | null, addresses: dns.LookupAddress[]) => void;
type Lookup = (hostname: string, options: dns.LookupAllOptions, answer: NameAnswer) => void;

/**
 * Looks up at most three names at once, and a name once for all callers that ask meanwhile. A lookup blocks a thread of
 * libuv's pool for as long as the name server is silent, and no caller can cancel it. The same threads read and write
 * files: if lookups took all of them, a stop could not write its state file or its report.
 */
export function boundedLookup(lookup: Lookup, atOnce = AT_ONCE): Lookup {
  const asked = new Map<string, NameAnswer[]>();
  const waiting: (() => void)[] = [];
  let running = 0;
  const next = (): void => {
    if (running >= atOnce) return;
    const begin = waiting.shift();
    if (begin === undefined) return;
    running += 1;
    begin();
  };
  return (hostname, options, answer) => {
    if (hostname === '' || isIP(hostname) !== 0) {
      lookup(hostname, options, answer);
      return;
    }
    const key = JSON.stringify([hostname, options.family ?? 0, options.hints ?? 0, options.order ?? '']);
    const known = asked.get(key);
    if (known !== undefined) {
      known.push(answer);
      return;
    }
    const answers = [answer];
    const begin = (): void => {
      lookup(hostname, options, (error, addresses) => {
        asked.delete(key);
        running -= 1;
        for (const each of answers) each(error, addresses);
        next();
      });
    };
    asked.set(key, answers);
    waiting.push(begin);
    next();
  };
}

/** For every lookup of this process, those of its packages included: they share one thread pool. */
export function boundNameLookups(): void {
  const all = boundedLookup(dns.lookup.bind(dns) as Lookup);
  const lookup = (hostname: string, options: unknown, callback?: unknown): void => {
    const given = readOptions(typeof options === 'function' ? {} : options);
    const answer = (callback ?? options) as (...values: unknown[]) => void;
    all(hostname, { ...given, all: true }, (error, addresses) => {
      if (error !== null) answer(error);
      else if (given.all === true) answer(null, addresses);
      else answer(null, addresses[0]?.address, addresses[0]?.family);
    });
  };
  const promised = (hostname: string, options: unknown = {}): Promise<unknown> => {
    const given = readOptions(options);
    return new Promise((resolve, reject) => {
      all(hostname, { ...given, all: true }, (error, addresses) => {
        if (error !== null) reject(error);
        else resolve(given.all === true ? addresses : addresses[0]);
      });
    });
  };
  Object.assign(dns, { lookup });
  Object.assign(dns.promises, { lookup: promised });
}

function readOptions(options: unknown): dns.LookupOptions {
  if (typeof options === 'number') return { family: options };
  return options ?? {};
}
