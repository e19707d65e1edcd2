import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';

import type { FleetRow } from '../../control-plane/page/fleet-view.pure.ts';
import { Browser, type BrowserPage } from '../support/browser.ts';
import {
  head,
  mixedFleet,
  PAGE_HTML,
  row,
  rows,
  ScriptedFleet,
  serveFleet,
} from '../support/scripted-fleet.ts';
import { freePort } from '../support/world/free-port.ts';
import { TemporaryDir } from '../support/world/temporary-dir.ts';

/** The folder that keeps the pictures for inspection; a temporary folder if not set. */
const KEPT = process.env['PAGE_SCREENSHOTS'];
const FOCUSED = 'document.activeElement.dataset.id ?? document.activeElement.id';
const IDS = `[...document.querySelectorAll('.row')].toSorted((a, b) => parseFloat(a.style.top) - parseFloat(b.style.top)).map((row) => row.dataset.id)`;

function textOf(page: BrowserPage, selector: string): Promise<string> {
  return page.evaluate(`document.querySelector(${JSON.stringify(selector)}).innerText`);
}

function quiet(dataplanes: readonly FleetRow[]): ScriptedFleet {
  return new ScriptedFleet({ ...mixedFleet(), dataplanes, head: head() });
}

function filter(text: string): string {
  return `document.querySelector('#filter').value = '${text}'; document.querySelector('#filter').dispatchEvent(new Event('input'))`;
}

describe('the fleet page in Chromium', () => {
  let browser: Browser;
  let stack: AsyncDisposableStack;

  beforeAll(async () => {
    browser = await Browser.start();
  });

  afterAll(async () => {
    await browser[Symbol.asyncDispose]();
  });

  afterEach(async () => {
    await stack.disposeAsync();
  });

  async function open(fleet: ScriptedFleet, port = 0): Promise<{ page: BrowserPage; url: string }> {
    stack = new AsyncDisposableStack();
    const listeners = await serveFleet(fleet, { port });
    stack.defer(() => listeners.close());
    const url = `http://${listeners.address}/`;
    const page = await browser.open('about:blank');
    await page.resize(1_280, 800);
    await page.go(url);
    await page.until(`document.querySelector('.row')`);
    return { page, url };
  }

  test('shows who is attached, leaving, lost and held back, by which guard and why', async () => {
    const { page } = await open(new ScriptedFleet(mixedFleet()));
    const counts = await page.evaluate<string[]>(
      `[...document.querySelectorAll('#states button')].map((each) => each.innerText.replace('\\n', ' '))`,
    );
    expect(counts).toEqual([
      '40 attached',
      '2 leaving',
      '0 not back yet',
      '1 lost',
      '0 out of rotation',
      '0 swept',
      '2 held back',
    ]);
    expect((await page.evaluate<string[]>(IDS)).slice(0, 5)).toEqual([
      'default/batch-swept-1',
      'default/orders-lost-1',
      'default/search-lost-2',
      'default/web-leaving-1',
      'default/web-leaving-2',
    ]);
    expect(await textOf(page, '[data-id="default/batch-swept-1"] .why')).toBe(
      'by subscription-online: control plane cp-2 holds a stream of it',
    );
    expect(await textOf(page, '#brakes')).toContain('3 of 10 dataplanes of mesh default were deleted');
    expect(await textOf(page, '#surroundings')).toContain('connect ECONNREFUSED 192.0.2.7:5682');
    expect(await textOf(page, '#connection')).toBe('Live, 2 held back, 1 lost, 1 control plane silent');
  });

  test('in an incident: the title counts, the brake comes first with the way out, tiles and rows agree', async () => {
    const { page } = await open(new ScriptedFleet(mixedFleet()));
    expect(await page.evaluate<string>('document.title')).toBe('2 held back – Fleet');
    expect(await textOf(page, '#alarm')).toMatch(
      /The brake holds back \d+ of mesh default: .*kuma-deregistrar brake release --mesh default/s,
    );
    const shownStates = await page.evaluate<string[]>(
      `[...document.querySelectorAll('.row .state')].map((each) => each.textContent)`,
    );
    const held = await page.evaluate<string>(
      `document.querySelector('[data-state="held"] .count').textContent`,
    );
    expect(shownStates.filter((state) => state === 'held back')).toHaveLength(Number(held));
    const links = await page.evaluate<boolean[]>(
      `[...document.querySelectorAll('.row .why a')].map((link) => document.querySelector(link.hash) !== null)`,
    );
    expect(links.length).toBeGreaterThan(0);
    expect(links).not.toContain(false);
    expect(await textOf(page, '#guards')).toContain('subscription-online');
  });

  test('a quiet fleet has no alarm and a green word; the title counts dataplanes', async () => {
    const { page } = await open(quiet(rows(12)));
    expect(await page.evaluate<boolean>(`document.querySelector('#alarm').hidden`)).toBe(true);
    expect(await textOf(page, '#connection')).toBe('Live');
    expect(await page.evaluate<string>('document.title')).toBe('12 dataplanes – Fleet');
    const heads = await page.evaluate<string[]>(
      `[...document.querySelectorAll('#heads span')].map((each) => each.innerText)`,
    );
    expect(heads).toEqual(['State', 'Name', 'Service', 'Address', 'Phase', 'Age', 'Why']);
    expect(await textOf(page, '.row .service')).toBe('orders');
  });

  test('a long name is cut in the middle: its end tells it from its neighbours', async () => {
    const long = `default/${'a-very-long-service-name-'.repeat(6)}7f9c4d-x2x7q`;
    const { page } = await open(quiet([row(long)]));
    expect(await page.evaluate<string>(`document.querySelector('.row .name').textContent`)).toBe(long);
    const isEndSeen = `(() => {
      const name = document.querySelector('.row .name').getBoundingClientRect();
      const end = document.querySelector('.row .name > :last-child').getBoundingClientRect();
      return end.width > 0 && end.right <= name.right + 1;
    })()`;
    expect(await page.evaluate<boolean>(isEndSeen)).toBe(true);
  });

  test('an empty fleet says what to do next', async () => {
    stack = new AsyncDisposableStack();
    const listeners = await serveFleet(quiet([]), { port: 0 });
    stack.defer(() => listeners.close());
    const page = await browser.open('about:blank');
    await page.go(`http://${listeners.address}/`);
    await page.until(`document.querySelector('#empty').textContent !== ''`);
    expect(await textOf(page, '#empty')).toContain(
      'kuma-dp-agent run --endpoint grpcs://127.0.0.1:5690 -- kuma-dp run',
    );
  });

  test('draws each departure as a bar, and the fallback in another colour', async () => {
    const { page } = await open(new ScriptedFleet(mixedFleet()));
    const bars = await page.evaluate<string[]>(
      `[...document.querySelectorAll('#departures .track')].map((bar) => bar.getAttribute('aria-label').replaceAll('\\u00a0', ' '))`,
    );
    expect(bars.slice(0, 2)).toEqual([
      'deregister 96 ms · settle 3.0 s · drain 1.3 s · exit 240 ms; 4.6 s in all',
      'silent 16 s; 16 s in all',
    ]);
    const looks = await page.evaluate<string[]>(
      `['deregister', 'settle', 'drain', 'exit', 'silent', 'offline'].map((step) => {
        const { backgroundColor, backgroundImage } = getComputedStyle(document.querySelector('.track .' + step));
        return backgroundImage + backgroundColor;
      })`,
    );
    expect(new Set(looks).size).toBe(6);
  });

  test('changes by itself when the fleet does', async () => {
    const fleet = new ScriptedFleet(mixedFleet(3));
    const { page } = await open(fleet);
    const [first, ...others] = fleet.now.dataplanes;
    fleet.become({
      dataplanes: [...others, row('default/newcomer-1', { state: 'leaving', phase: 'deregistering' })],
    });
    await page.until(`document.querySelector('[data-id="default/newcomer-1"]')`);
    expect(await page.evaluate<string[]>(IDS)).not.toContain(first?.id);
    expect(await textOf(page, '[data-state="leaving"] .count')).toBe('3');
  });

  test('says since when the connection is lost, and comes back by itself', async () => {
    const fleet = new ScriptedFleet(mixedFleet(3));
    const port = await freePort();
    const { page } = await open(fleet, port);
    await stack.disposeAsync();
    await page.until(`document.querySelector('#connection.lost')`);
    expect(await textOf(page, '#connection')).toMatch(/^Connection lost since \d\d:\d\d:\d\d$/);
    stack = new AsyncDisposableStack();
    fleet.become({ dataplanes: [row('default/after-1')] });
    const listeners = await serveFleet(fleet, { port });
    stack.defer(() => listeners.close());
    await page.until(`document.querySelector('#connection').innerText.startsWith('Live')`);
    await page.until(`document.querySelectorAll('.row').length === 1`);
    expect(await page.evaluate<string[]>(IDS)).toEqual(['default/after-1']);
  });

  test('is used by keyboard alone', async () => {
    const { page } = await open(new ScriptedFleet(mixedFleet()));
    await page.press('/');
    expect(await page.evaluate(FOCUSED)).toBe('filter');
    await page.type('lost held');
    await page.until(`document.querySelectorAll('.row').length === 1`);
    await page.press('Escape');
    await page.until(`document.querySelectorAll('.row').length > 5`);
    await page.press('ArrowDown');
    expect(await page.evaluate(FOCUSED)).toBe('default/batch-swept-1');
    await page.press('ArrowDown');
    expect(await page.evaluate(FOCUSED)).toBe('default/orders-lost-1');
    await page.press('Enter');
    expect(await textOf(page, '#details')).toContain('Too many dataplanes were lost at once');
    await page.press('Escape');
    expect(await page.evaluate(`document.querySelector('#details').hidden`)).toBe(true);
    await page.press('End');
    expect(await page.evaluate(FOCUSED)).toBe('default/web-0035');
    await page.press('Home', 'ArrowUp');
    expect(await page.evaluate(FOCUSED)).toBe('default/batch-swept-1');
  });

  test('keeps the focus on its row while the fleet changes around it, and nearby when it goes', async () => {
    const fleet = new ScriptedFleet(mixedFleet(5));
    const { page } = await open(fleet);
    await page.press('/', 'ArrowDown', 'ArrowDown');
    fleet.become({
      dataplanes: [
        ...fleet.now.dataplanes,
        row('default/a-first', { state: 'lost', guard: 'brake', reason: 'x' }),
      ],
    });
    await page.until(`document.querySelector('[data-id="default/a-first"]')`);
    expect(await page.evaluate(FOCUSED)).toBe('default/orders-lost-1');
    fleet.become({ dataplanes: fleet.now.dataplanes.filter(({ id }) => id !== 'default/orders-lost-1') });
    await page.until(`!document.querySelector('[data-id="default/orders-lost-1"]')`);
    expect(await page.evaluate(FOCUSED)).toBe('default/search-lost-2');
  });

  test('what agents and control planes say is text, whatever it looks like', async () => {
    const evil = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`;
    const fleet = new ScriptedFleet(mixedFleet(1));
    const { now } = fleet;
    fleet.become({
      head: {
        ...now.head,
        replica: evil,
        store: { kind: 'sqlite', problem: evil },
        brakes: [
          { mesh: evil, service: evil, dataplanes: 1, deleted: 1, allowed: 1, heldBack: 1, reason: evil },
        ],
      },
      dataplanes: [
        row(`default/"><b>`, { state: 'lost', guard: evil, reason: evil, phase: evil, incarnation: evil }),
      ],
      departures: now.departures.map((each) => ({ ...each, id: evil, reason: evil, guard: evil })),
    });
    const { page } = await open(fleet);
    await page.press('/', 'ArrowDown', 'Enter');
    expect(await textOf(page, '#details')).toContain(evil);
    expect(await textOf(page, '#brakes')).toContain(evil);
    expect(await page.evaluate('document.title')).toMatch(/– Fleet$/);
    expect(await page.evaluate(`document.querySelectorAll('main img, main script, main b').length`)).toBe(0);
  });

  test('connects to the companion only, and its own policy blocks nothing', async () => {
    const { page, url } = await open(new ScriptedFleet(mixedFleet()));
    await page.press('/', 'ArrowDown', 'Enter');
    expect(page.requests.filter((each) => each !== 'about:blank' && !each.startsWith('data:'))).toEqual([
      url,
      `${url}fleet/events`,
    ]);
    expect(page.problems).toEqual([]);
    expect(PAGE_HTML).not.toMatch(
      /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\sstyle="|\son\w+="/,
    );
  });

  test('an injected script would not run', async () => {
    const { page } = await open(new ScriptedFleet(mixedFleet()));
    await page.evaluate(
      `document.body.append(Object.assign(document.createElement('script'), { textContent: 'document.title = "owned"' }))`,
    );
    expect(await page.evaluate('document.title')).toMatch(/– Fleet$/);
    expect(page.problems.join()).toContain('Content Security Policy');
  });
});

describe('the fleet page with 2,500 dataplanes', () => {
  const MANY = 2_500;
  let browser: Browser;
  let listeners: Awaited<ReturnType<typeof serveFleet>>;
  let fleet: ScriptedFleet;
  let page: BrowserPage;

  beforeAll(async () => {
    browser = await Browser.start();
    fleet = new ScriptedFleet({ ...mixedFleet(0), dataplanes: rows(MANY) });
    listeners = await serveFleet(fleet);
    page = await browser.open('about:blank');
    await page.resize(1_280, 800);
    await page.go(`http://${listeners.address}/`);
    await page.until(`document.querySelector('.row')`);
  });

  afterAll(async () => {
    await browser[Symbol.asyncDispose]();
    await listeners.close();
  });

  /** From the action to the frame that shows it, in ms. */
  function timed(action: string): Promise<number> {
    return page.evaluate(`(async () => {
      const begun = performance.now();
      ${action};
      await new Promise((shown) => requestAnimationFrame(() => requestAnimationFrame(shown)));
      return performance.now() - begun;
    })()`);
  }

  test('has few rows in the document, wherever one scrolls to', async () => {
    for (const top of [0, 40_000, 1e6]) {
      expect(await timed(`document.querySelector('#rows').scrollTop = ${top}`)).toBeLessThan(500);
      expect(await page.evaluate(`document.querySelectorAll('.row').length`)).toBeLessThan(60);
    }
    expect(await page.evaluate<string[]>(IDS)).toContain('default/web-2495');
  });

  test('filters within half a second', async () => {
    expect(await timed(filter('payments-12'))).toBeLessThan(500);
    expect(await page.evaluate(`document.querySelector('#shown').innerText`)).toBe('20 of 2500');
    expect(await timed(filter(''))).toBeLessThan(500);
  });

  test('half of it changes at once, and it stays usable', async () => {
    for (let round = 0; round < 5; round += 1) {
      fleet.become({
        dataplanes: rows(MANY).map((each, at) => (at % 2 === round % 2 ? { ...each, epoch: round } : each)),
      });
      expect(
        await timed(`document.querySelector('#rows').scrollTop = ${round * 1_000}`),
        `round ${round}`,
      ).toBeLessThan(1_000);
    }
    await page.press('/', 'ArrowDown', 'End');
    expect(await page.evaluate(FOCUSED)).toBe('default/web-2495');
  });
});

describe('the fleet page to look at', () => {
  test.for([
    { width: 1_440, height: 900, scheme: 'light' },
    { width: 1_440, height: 900, scheme: 'dark' },
    { width: 420, height: 1_400, scheme: 'light' },
    { width: 420, height: 1_400, scheme: 'dark' },
  ] as const)('fits $width pixels, $scheme', async ({ width, height, scheme }) => {
    using dir = new TemporaryDir();
    const folder = KEPT ?? dir.path;
    mkdirSync(folder, { recursive: true });
    await using browser = await Browser.start();
    await using stack = new AsyncDisposableStack();
    const listeners = await serveFleet(new ScriptedFleet(mixedFleet()));
    stack.defer(() => listeners.close());
    const page = await browser.open('about:blank');
    await page.resize(width, height);
    await page.prefer(scheme);
    await page.go(`http://${listeners.address}/`);
    await page.until(`document.querySelector('.row')`);
    await page.press('/', 'ArrowDown', 'ArrowDown', 'Enter');
    await page.screenshot(join(folder, `fleet-${width}-${scheme}.png`));
    await page.evaluate(`document.querySelector('#departures li:last-child').scrollIntoView()`);
    await listeners.close();
    await page.until(`document.querySelector('#connection.lost')`);
    await page.screenshot(join(folder, `fleet-${width}-${scheme}-end.png`));
    const overflow = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';
    expect(await page.evaluate(overflow)).toBe(0);
    expect(await page.evaluate('getComputedStyle(document.body).backgroundColor')).toBe(
      scheme === 'dark' ? 'rgb(14, 17, 22)' : 'rgb(245, 246, 248)',
    );
  });
});
