import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { readDataplaneTemplate } from '../../../../agent/identity/dataplane-template.io.ts';
import { readKumaDpCommand } from '../../../../agent/identity/kuma-dp-command.pure.ts';
import { isObject } from '../../../../kernel/json.ts';
import type { DataplaneResource } from '../../../../kuma/dataplane.ts';

/** One file, and what kuma-dp 2.14.3 made of it. */
interface Recorded {
  readonly case: string;
  readonly text?: string;
  /** Instead of a text: bytes that need not be UTF-8. */
  readonly base64?: string;
  readonly error?: string;
  readonly accepted: boolean;
  readonly mesh?: string;
  readonly name?: string;
  readonly resource?: DataplaneResource;
}

const RECORDED: readonly Recorded[] = readFileSync('test/fixtures/dataplane-files.jsonl', 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as Recorded);

/** Go's errors about a document that it cannot parse, or about a value that the agent would use. */
const NOT_READABLE =
  /control characters|UTF-8|Unicode character|!!|map merge|anchor|alias|map key|base64|^Error: name: invalid|uint32|unsupported value|mesh: invalid/;

/** Kuma 2.7 still takes the underscore. */
const UNREADABLE = RECORDED.filter(
  ({ case: title, accepted, error = '' }) =>
    !accepted && NOT_READABLE.test(error) && title !== 'a43-underscore-name',
);

const PLAIN = 'type: Dataplane\nmesh: default\nname: web-1\n';
const NETWORKING = 'networking:\n  address: 10.0.0.1\n  inbound:\n  - port: 8080\n';

describe('a Dataplane file', () => {
  it.each(RECORDED.filter(({ accepted, text }) => accepted && text !== ''))(
    '$case is read as kuma-dp reads it',
    async ({ resource, ...row }) => {
      expect(factsOf(await readRow(row))).toEqual(factsOf(resource));
    },
  );

  it.each(UNREADABLE)(
    'that kuma-dp cannot read names no dataplane to the agent, which says why: $case',
    async (row) => {
      await expect(readRow(row)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    },
  );

  it('in UTF-16 is no template, as kuma-dp has it', async () => {
    const bytes = Buffer.from(`\uFEFF${PLAIN.replace('web-1', '{{ name }}')}${NETWORKING}`, 'utf16le');
    await expect(readBytes(bytes)).rejects.toThrow('UTF-16');
  });

  it.each([
    ['list', 'type: Dataplane\nmesh: default\nname: [unclosed\n'],
    ['map', `${PLAIN}networking: {address: 10.0.0.1, inbound: [{port: 8080}]\n`],
    ['document in braces', '{type: Dataplane, mesh: default, name: web-1, networking: {}'],
    ['text', 'type: Dataplane\nmesh: default\nname: "web-1\n'],
  ])('with a %s that has no end names no dataplane', async (_title, text) => {
    await expect(read(text)).rejects.toThrow('line');
  });

  it('whose aliases stand for a billion values is refused at once', async () => {
    const levels = ['b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'].map(
      (name, at) => `${name}: &${name} [${`*${'abcdefgh'[at]},`.repeat(9)}]`,
    );
    const began = performance.now();
    await expect(read(`a: &a [x,x]\n${levels.join('\n')}\n${PLAIN}${NETWORKING}`)).rejects.toThrow('aliases');
    // A busy machine takes seconds; all of them would take minutes.
    expect(performance.now() - began).toBeLessThan(20_000);
  });

  it.each(RECORDED.filter((row) => row.error?.includes('ResourceMeta.name') === true))(
    'with a name that is no text is refused, as kuma-dp refuses it: $case',
    async ({ text = '' }) => {
      await expect(read(text)).rejects.toThrow('name');
    },
  );

  it.each([
    ['a date', 'name: 2026-01-31', '2026-01-31'],
    ['a quoted number', "name: '007'", '007'],
    ['twice: the last counts', 'name: web-0\nname: web-1', 'web-1'],
    ['in another case', 'Name: web-1', 'web-1'],
    ['in capitals', 'NAME: web-1', 'web-1'],
    ['in two cases: the one that sorts last counts', 'NAME: web-0\nname: web-1', 'web-1'],
  ])('has a name that is %s', async (_title, line, name) => {
    expect((await read(`type: Dataplane\nmesh: default\n${line}\n${NETWORKING}`)).name).toBe(name);
  });

  it('may have a state that Kuma of today has no word for', async () => {
    const resource = await read(`${PLAIN}${NETWORKING}    state: 3\n`);
    expect(resource.networking?.inbound).toEqual([{ port: 8080, state: '3' }]);
  });

  it.each([
    ['a second document', `${PLAIN}${NETWORKING}---\ntype: Mesh\nname: other\n`],
    ['a second document that is no YAML', `${PLAIN}${NETWORKING}---\n[ { : "\n`],
    ['a marker at the end', `${PLAIN}${NETWORKING}---\n`],
    ['an end marker and more', `${PLAIN}${NETWORKING}...\ntype: Mesh\n`],
    [
      'nothing behind its optional keys',
      `${PLAIN}labels:\ncreationTime:\nmodificationTime: ~\n${NETWORKING}`,
    ],
    [
      'nothing behind the keys of a port',
      `${PLAIN}${NETWORKING}    state:\n    address: null\n    serviceProbe:\n`,
    ],
    ['type and mesh in another case', `Type: Dataplane\nMESH: default\nname: web-1\n${NETWORKING}`],
  ])('may have %s', async (_title, text) => {
    expect(factsOf(await read(text))).toEqual({
      type: 'Dataplane',
      mesh: 'default',
      name: 'web-1',
      labels: {},
      inbound: [{ port: 8080, servicePort: undefined, state: 'Ready' }],
      listeners: [],
    });
  });
});

async function read(text: string): Promise<DataplaneResource> {
  const command = readKumaDpCommand(
    ['kuma-dp', 'run', `--dataplane=${text}`, '--dataplane-var=port=8080'],
    {},
  );
  if (command === undefined) throw new TypeError('not a command');
  const { resource } = await readDataplaneTemplate(command, undefined);
  if (resource === undefined) throw new TypeError('no resource');
  return resource;
}

function readRow({ text = '', base64 }: Pick<Recorded, 'text' | 'base64'>): Promise<DataplaneResource> {
  return base64 === undefined ? read(text) : readBytes(Buffer.from(base64, 'base64'));
}

/** As from standard input. */
async function readBytes(bytes: Uint8Array): Promise<DataplaneResource> {
  const command = readKumaDpCommand(['kuma-dp', 'run', '--dataplane-file=-'], {});
  if (command === undefined) throw new TypeError('not a command');
  const { resource } = await readDataplaneTemplate(command, Promise.resolve(bytes));
  if (resource === undefined) throw new TypeError('no resource');
  return resource;
}

/** The facts that the agent relies on. Kuma leaves out fields with their default. */
function factsOf(resource: DataplaneResource | undefined): unknown {
  const { type, mesh = '', name, labels = {}, networking } = resource ?? {};
  return {
    type,
    // Zone proxies are in no mesh, whatever their file says.
    mesh: type === 'Dataplane' ? mesh : '',
    name,
    labels,
    inbound: (networking?.inbound ?? []).map(portOf),
    listeners: (networking?.listeners ?? []).map(portOf),
  };
}

function portOf(port: unknown): unknown {
  const { port: number, servicePort, state = 'Ready' } = isObject(port) ? port : {};
  return { port: number, servicePort, state };
}
