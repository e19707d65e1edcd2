import { expect, test } from 'vitest';

import { decide, type Decision } from '../../control-plane/evidence/decision.pure.ts';
import { judgeEntry, type EntryCase } from '../../control-plane/evidence/entry.pure.ts';
import { QUESTIONS, ROWS } from './evidence-rows.ts';

const INTRO = `# Evidence and decisions

What the companion does about an object, by what it knows. \`control-plane/evidence/decision.pure.ts\` decides it.
\`test/contract/evidence.test.ts\` writes this page from that code: run
\`npx vitest run --project contract test/contract/evidence.test.ts -u\` after a change.

Each line changes one piece of evidence; everything else speaks for the deletion. What is unknown never does.

- **go**: the object is deleted, after the [brake](what-happens-when.md#brake) if its agent did not ask to leave.
- **put back**: the object of a running dataplane is put again.
- **wait**: it stays, and is judged again. **stay**: it stays, and its departure, if there is one, is over. The
  [guard](what-happens-when.md#what-holds-a-deletion-back) is in brackets.
- **gone**: there is no object, and nothing to do.
`;

const NAMES = `## Who gets a name

An incarnation asks for a name that another one has. \`control-plane/evidence/entry.pure.ts\` decides.

- **enter**: it gets the name and the next epoch. **held**: it waits on its stream until the other one leaves, is lost or
  stops serving. **superseded**: it asks again within 10 s.
`;

function cell(decision: Decision): string {
  const guard = 'guard' in decision && decision.guard !== undefined ? ` (${decision.guard})` : '';
  return `${decision.verdict}${guard}`;
}

function line(cells: readonly string[]): string {
  return cells.join(' | ');
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [line(head), head.map(() => '---').join('|'), ...rows.map(line)].join('\n');
}

const HOLDER = {
  epoch: 1,
  incarnation: 'other',
  state: 'attached',
  serving: true,
  lostAtMs: undefined,
} as const;
const ASKING: EntryCase = {
  holder: HOLDER,
  nowMs: 100_000,
  refusedEpoch: undefined,
  newcomer: { owner: 'agent', resource: '{}' },
  departure: undefined,
  graceMs: 15_000,
};
const HAD_IT = { departure: { cause: 'fallback', outcome: 'superseded' } } as const;

const ENTRIES: readonly (readonly [evidence: string, given: Partial<EntryCase>])[] = [
  ['attached, and its Envoy serves', {}],
  ['attached, and has not said whether its Envoy serves', { holder: { ...HOLDER, serving: undefined } }],
  ['attached, and its Envoy does not serve', { holder: { ...HOLDER, serving: false } }],
  ['attached, but its inbounds refuse the companion', { refusedEpoch: 1 }],
  ['leaving', { holder: { ...HOLDER, state: 'leaving' } }],
  ['lost 1 s ago', { holder: { ...HOLDER, state: 'lost', lostAtMs: 99_000 } }],
  ['lost for two graces', { holder: { ...HOLDER, state: 'lost', lostAtMs: 70_000 } }],
  ['none', { holder: undefined }],
];

test('docs/concepts/evidence.md is what the code decides', async () => {
  const answers = Object.entries(QUESTIONS).map(([question, given]) => ({
    question,
    cells: ROWS.map(({ change }) => cell(decide(change(given)))),
  }));
  const same = answers.filter(({ cells }) => new Set(cells).size === 1);
  const columns = answers.filter((answer) => !same.includes(answer));
  const rows = ROWS.map(({ source, evidence }, at) => [
    source,
    evidence,
    ...columns.map(({ cells }) => cells[at] ?? ''),
  ]);
  const always = same.map(
    ({ question, cells: [answer = ''] }) => `Whatever the evidence, if ${question}: ${answer}.\n\n`,
  );
  const entries = ENTRIES.map(([evidence, given]) => [
    evidence,
    judgeEntry({ ...ASKING, ...given }),
    judgeEntry({ ...ASKING, ...given, newcomer: { owner: 'cp', resource: undefined } }),
    judgeEntry({ ...ASKING, ...HAD_IT, ...given }),
  ]);
  const decisions = table(['source', 'evidence', ...columns.map(({ question }) => question)], rows);
  const names = table(
    [
      'the other incarnation',
      'a newcomer',
      'a newcomer that brings no object',
      'one that had the name before',
    ],
    entries,
  );
  const page = `${INTRO}\n## What becomes of an object\n\n${always.join('')}${decisions}\n\n${NAMES}\n${names}\n`;
  await expect(page).toMatchFileSnapshot('../../docs/concepts/evidence.md');
});

test('nothing but evidence that speaks for it lets an object go whose agent did not ask to leave', () => {
  const lost = QUESTIONS['its agent was lost'];
  if (lost === undefined) throw new TypeError('No such question');
  const gone = ROWS.filter(({ change }) => decide(change(lost)).verdict === 'go');
  expect(gone.map(({ evidence }) => evidence)).toEqual([
    'everything speaks for it',
    'known for 1 s',
    'its own label',
    'the label of an incarnation that is over',
    'neither a label nor a kuma-dp that brought it',
    'connected to an instance that was seen to end',
    'connected to an instance that ended, whose successor is up for 20 s; its inbounds refuse the companion',
    'no stream was ever recorded, and no peer was ever told of it',
    'nothing was ever recorded, and it has the label of an incarnation that asked to leave',
    'one of them does not answer',
  ]);
});
