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

const PLAIN = 'type: Dataplane\nmesh: default\nname: web-1\n';
const NETWORKING = 'networking:\n  address: 10.0.0.1\n  inbound:\n  - port: 8080\n';

describe('a Dataplane file', () => {
  it.each(RECORDED.filter(({ accepted, text }) => accepted && text !== ''))(
    '$case is read as kuma-dp reads it',
    async ({ text = '', resource }) => {
      expect(factsOf(await read(text))).toEqual(factsOf(resource));
    },
  );

  it.each(RECORDED.filter((row) => row.error?.includes('ResourceMeta.name') === true))(
    'with a name that is no text is refused, as kuma-dp refuses it: $case',
    async ({ text = '' }) => {
      await expect(read(text)).rejects.toThrow('name');
    },
  );

  it.each([
    ['a date', 'name: 2026-01-31', '2026-01-31'],
    ['a date and time', 'name: 2026-01-31T10:00:00Z', '2026-01-31T10:00:00Z'],
    ['a time of day', 'name: 10:20', '10:20'],
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

/** What the agent relies on. Kuma leaves out what has its default. */
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
