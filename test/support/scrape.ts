import type { RequestOptions } from 'node:http';

import { httpCall, type HttpAnswer } from './world/http-call.ts';

/** The samples that a Prometheus server gets, by series: `up{instance="a"}` → its value. */
export class Scrape {
  readonly body: string;
  readonly #values: ReadonlyMap<string, number>;

  constructor(body: string) {
    this.body = body;
    const samples = body.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    this.#values = new Map(
      samples.map((line) => {
        const at = line.lastIndexOf(' ');
        return [line.slice(0, at), Number(line.slice(at + 1))];
      }),
    );
  }

  /** @returns `undefined` if there is no such series */
  value(series: string): number | undefined {
    return this.#values.get(series);
  }

  /** Series that are not zero and whose name matches, without the buckets of histograms. */
  nonZero(name: RegExp): Readonly<Record<string, number>> {
    const found = [...this.#values].filter(
      ([series, value]) => value !== 0 && name.test(series) && !series.includes('_bucket'),
    );
    return Object.fromEntries(found);
  }
}

/** @param address `HOST:PORT` or `unix:PATH` @throws Error unless it is answered with 200 */
export async function scrape(address: string): Promise<Scrape> {
  const { status, body } = await ask(address, 'GET', '/metrics');
  if (status !== 200) throw new Error(`A scrape was answered with ${status}: ${body}`);
  return new Scrape(body);
}

export function ask(address: string, method: string, path: string): Promise<HttpAnswer> {
  return answerTo(address, { method, path });
}

/** A scrape that shows a token. */
export function scrapeWith(token: string, address: string): Promise<HttpAnswer> {
  const headers = { authorization: `Bearer ${token}` };
  return answerTo(address, { method: 'GET', path: '/metrics', headers });
}

function answerTo(address: string, what: RequestOptions): Promise<HttpAnswer> {
  const where = address.startsWith('unix:')
    ? { socketPath: address.slice('unix:'.length) }
    : { port: new URL(`http://${address}`).port };
  return httpCall({ ...where, ...what });
}
