import { expect, test } from 'vitest';

import { judgeWitnesses } from '../../../../control-plane/commands/doctor-findings.pure.ts';

test('the doctor of the companion says whose loss would not be noticed at once, and why', () => {
  expect(judgeWitnesses({ attached: 3, unwatched: [] })).toMatchObject({ level: 'ok' });
  const reason = 'no two witnesses have reached 10.0.3.7:15006 from another address: a firewall';
  const finding = judgeWitnesses({ attached: 3, unwatched: [{ name: 'default/web-1', reason }] });
  expect(finding).toMatchObject({
    level: 'warning',
    says: `the loss of 1 of 3 dataplanes would not be noticed at once: default/web-1: ${reason}`,
  });
});
