import { describe, expect, test } from 'vitest';

import {
  judgeCredential,
  outlookOf,
  type EndpointLook,
} from '../../../../agent/doctor/endpoint-findings.pure.ts';
import { DEFAULT_FACTS } from '../../../../kuma/control-plane.ts';

const zone: EndpointLook = {
  url: 'https://zone:5682',
  seen: { facts: { ...DEFAULT_FACTS, mode: 'zone' }, isLastOfService: false },
};
const global: EndpointLook = {
  url: 'https://global:5682',
  seen: { facts: { ...DEFAULT_FACTS, mode: 'global' }, isLastOfService: false },
};
const silent: EndpointLook = {
  url: 'https://down:5682',
  seen: { problem: 'Cannot reach it', code: 'ENDPOINT_UNREACHABLE' },
};

describe('what a stop would do about the object', () => {
  test.for<{ readonly name: string; readonly looks: readonly EndpointLook[]; readonly outlook: string }>([
    { name: 'a zone control plane answers', looks: [zone], outlook: 'deletes' },
    { name: 'the second one answers', looks: [silent, zone], outlook: 'deletes' },
    { name: 'none answers', looks: [silent], outlook: 'fails' },
    { name: 'only a global one answers, which refuses', looks: [silent, global], outlook: 'fails' },
    { name: 'there is none', looks: [], outlook: 'fails' },
  ])('$name: $outlook', ({ looks, outlook }) => {
    expect(outlookOf(looks, true)).toBe(outlook);
    expect(outlookOf(looks, false)).toBe('keeps');
  });
});

describe("a dataplane that shows its IAM role (Kong Mesh's --auth-type=aws)", () => {
  const iam = { authType: 'aws', token: '', tokenPath: '' };
  test('is a failure in front of a companion', () => {
    expect(judgeCredential(iam, true)).toEqual([
      expect.objectContaining({
        level: 'failure',
        says: expect.stringMatching(/--auth-type=aws.*companion refuses/) as string,
        remedy: expect.stringContaining('--endpoint https://') as string,
      }),
    ]);
  });

  test.for([
    { name: 'without a companion', command: iam, companion: false },
    { name: 'with a token file all the same', command: { ...iam, tokenPath: '/token' }, companion: true },
    { name: 'with a token', command: { ...iam, token: 'ey' }, companion: true },
    { name: 'of Kuma', command: { ...iam, authType: '' }, companion: true },
  ])('is none $name', ({ command, companion }) => {
    expect(judgeCredential(command, companion)).toEqual([]);
  });
});
