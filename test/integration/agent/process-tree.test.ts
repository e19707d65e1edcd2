import { spawn } from 'node:child_process';
import { once } from 'node:events';

import { expect, test } from 'vitest';

import { childrenByParent, childrenOf, kumaDpAmong } from '../../../agent/child/process-tree.io.ts';

test('children are the same by the kernel’s list and by their parent’s id', async () => {
  const child = spawn('sh', ['-c', 'sleep 30 & sleep 30 & wait']);
  await once(child, 'spawn');
  try {
    const pid = child.pid ?? 0;
    await expect.poll(() => childrenOf(pid).length).toBe(2);
    expect(new Set(childrenByParent(pid))).toEqual(new Set(childrenOf(pid)));
    expect(kumaDpAmong(pid)).toBeUndefined();
    for (const below of childrenOf(pid)) process.kill(below, 'SIGKILL');
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  expect(childrenOf(child.pid ?? 0)).toEqual([]);
});
