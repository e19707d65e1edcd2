import { performance } from 'node:perf_hooks';

import * as z from 'zod/mini';

import { OperationalError } from '../../kernel/errors.ts';
import { requireAnswer } from '../../kuma/answers.ts';
import { readOverview, type DataplaneOverview } from '../../kuma/overview.ts';
import type { RestClient } from '../../kuma/rest-client.io.ts';
import type { OverviewPage } from '../ports.ts';

/** The largest page that Kuma returns. */
const PAGE_SIZE = 1_000;
/** A million dataplanes: a longer list repeats its pages. */
const MOST_PAGES = 1_000;
const ACTION = 'list the dataplanes';

const Page = z.looseObject({ items: z.array(z.unknown()), next: z.nullish(z.string()) });

/**
 * Every dataplane of every mesh, as one control plane lists them.
 *
 * Kuma pages by offset over a changing list. A deletion in between moves others into pages that were read already, a
 * creation moves others into later pages. So an existing dataplane may be missing, and its absence proves nothing. One
 * that comes twice counts as it was last seen, and each is only as fresh as its page. Unreadable ones are left out for
 * the same reason: one odd object must not hide all others. `clockMs` is of the first page, so that no age comes out
 * too high.
 *
 * @see kuma pkg/api-server/pagination.go, pkg/core/resources/store/pagination_store.go
 */
export async function readOverviewPages(client: RestClient, signal: AbortSignal): Promise<OverviewPage> {
  const found = new Map<string, DataplaneOverview>();
  const visited = new Set<string>();
  const began = performance.eventLoopUtilization();
  let clockMs: number | undefined;
  for (let offset: string | undefined = '0'; offset !== undefined;) {
    if (visited.has(offset) || visited.size >= MOST_PAGES) throw unreadable('its pages do not end');
    const page = await readPage(client, offset, signal);
    if (visited.size === 0) clockMs = page.clockMs;
    visited.add(offset);
    for (const overview of page.overviews) found.set(`${overview.mesh}/${overview.name}`, overview);
    offset = page.next;
  }
  const { active: workMs } = performance.eventLoopUtilization(began);
  return { overviews: [...found.values()], clockMs, workMs };
}

interface ReadPage extends OverviewPage {
  readonly next: string | undefined;
}

async function readPage(client: RestClient, offset: string, signal: AbortSignal): Promise<ReadPage> {
  const query = new URLSearchParams({ size: String(PAGE_SIZE), ...(offset === '0' ? {} : { offset }) });
  const answer = await client.get(`dataplanes/_overview?${query.toString()}`, signal);
  const parsed = z.safeParse(Page, answer.body);
  if (requireAnswer(ACTION, answer) === 'missing' || !parsed.success)
    throw unreadable('the answer is not a page of dataplanes');
  const { items, next } = parsed.data;
  const overviews = items.map((item) => readOverview(item)).filter((item) => item !== undefined);
  if (items.length > 0 && overviews.length === 0) throw unreadable('there is no overview in it');
  if (items.length === 0 && typeof next === 'string') throw unreadable('an empty page has a next one');
  return { overviews, clockMs: answer.clockMs, next: offsetOf(next) };
}

/**
 * Takes only the offset from the link to the next page: a proxy or our own request headers may have made the rest, and
 * the credential must not go there.
 */
function offsetOf(next: string | null | undefined): string | undefined {
  if (next === null || next === undefined) return undefined;
  const offset = URL.parse(next, 'http://control-plane.invalid')?.searchParams.get('offset') ?? '';
  if (offset === '') throw unreadable('the next page has no offset');
  return offset;
}

function unreadable(what: string): OperationalError {
  return new OperationalError('ANSWER_UNREADABLE', `Cannot ${ACTION}: ${what}`);
}
