import { describe, expect, test } from 'vitest';

import type { Binding, DataplaneIdentity } from '../../../../agent/identity/dataplane-identity.pure.ts';
import { chooseOwner, isDeletable, type Owner } from '../../../../agent/identity/owner.pure.ts';
import type { ProxyType } from '../../../../kuma/dataplane.ts';

function identity(binding: Binding, proxyType: ProxyType = 'dataplane'): DataplaneIdentity {
  return {
    key: { proxyType, mesh: proxyType === 'dataplane' ? 'default' : '', name: 'web-1' },
    binding,
    resource: undefined,
    defaultEndpoint: new URL('https://localhost:5682'),
    drainTimeMs: 30_000,
    rewritable: true,
  };
}

const APPLIED = 'kuma-dp has --name and --mesh: an operator applied the object';
const SEEN = 'a zone proxy cannot be registered unseen before it starts';

describe('chooseOwner()', () => {
  test.for<'auto' | Owner>(['auto', 'agent'])(
    '--lifecycle %s leaves the object to the control plane where the command cannot be rewritten',
    (lifecycle) => {
      const { owner, because } = chooseOwner(lifecycle, { ...identity('direct'), rewritable: false }, true);
      expect(owner).toBe('cp');
      expect(because).toContain('script');
    },
  );

  test.for<{
    readonly lifecycle: 'auto' | Owner;
    readonly binding: Binding;
    readonly owner: Owner;
    /** With a companion. */
    readonly behind?: Owner;
    readonly because?: string;
  }>([
    { lifecycle: 'auto', binding: 'direct', owner: 'cp', behind: 'agent' },
    { lifecycle: 'cp', binding: 'direct', owner: 'cp' },
    { lifecycle: 'agent', binding: 'direct', owner: 'agent' },
    { lifecycle: 'external', binding: 'direct', owner: 'external' },
    { lifecycle: 'auto', binding: 'indirect', owner: 'external' },
    { lifecycle: 'external', binding: 'indirect', owner: 'external' },
    { lifecycle: 'cp', binding: 'indirect', owner: 'external', because: APPLIED },
    { lifecycle: 'agent', binding: 'indirect', owner: 'external', because: APPLIED },
  ])('--lifecycle $lifecycle, $binding: $owner', ({ lifecycle, binding, owner, behind = owner, ...why }) => {
    expect(chooseOwner(lifecycle, identity(binding), false)).toEqual({ owner, ...why });
    expect(chooseOwner(lifecycle, identity(binding), true)).toEqual({ owner: behind, ...why });
  });

  test.for<ProxyType>(['ingress', 'egress'])('a zone %s is never owned by the agent', (proxyType) => {
    expect(chooseOwner('agent', identity('direct', proxyType), true)).toEqual({
      owner: 'cp',
      because: SEEN,
    });
    expect(chooseOwner('auto', identity('direct', proxyType), true)).toEqual({ owner: 'cp' });
  });
});

describe('isDeletable()', () => {
  test.for<{ readonly owner: Owner; readonly told: boolean; readonly deletable: boolean }>([
    { owner: 'cp', told: false, deletable: true },
    { owner: 'agent', told: false, deletable: true },
    { owner: 'external', told: false, deletable: false },
    { owner: 'external', told: true, deletable: true },
    { owner: 'cp', told: true, deletable: true },
  ])('$owner, --delete-external $told: $deletable', ({ owner, told, deletable }) => {
    expect(isDeletable(owner, told)).toBe(deletable);
  });
});
