import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';

import { expect, test } from 'vitest';

import { pathSeenBy, wordSeenBy } from '../../../agent/child/process-view.io.ts';
import { unavailable } from '../../support/need.ts';
import { TemporaryDir } from '../../support/world/temporary-dir.ts';

test('a path of a process with folders of its own is read as that process sees it', async (context) => {
  if (process.getuid?.() !== 0) unavailable(context, 'a mount namespace needs root');
  using dir = new TemporaryDir();
  writeFileSync(dir.join('outside'), 'here');
  const script = `mount -t tmpfs tmpfs ${dir.path} && echo there > ${dir.join('inside')} && ln -s ${dir.join('outside')} ${dir.join('link')} && echo ready && exec sleep 60`;
  const child = spawn('unshare', ['--mount', 'sh', '-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await once(child.stdout, 'data');
    const pid = child.pid ?? 0;
    expect(readFileSync(pathSeenBy(pid, dir.join('inside')), 'utf8')).toBe('there\n');
    expect(pathSeenBy(pid, 'relative')).toBe('relative');
    expect(wordSeenBy(pid, `--dataplane-file=${dir.join('inside')}`)).toBe(
      `--dataplane-file=/proc/${pid}/root${dir.join('inside')}`,
    );
    for (const word of ['run', '--name=web/1', '--cp-address=https://cp:5678', '/no/such/file']) {
      expect(wordSeenBy(pid, word)).toBe(word);
    }
  } finally {
    child.kill('SIGKILL');
  }
});

test('a path of a process with our folders stays as it is, links included', () => {
  using dir = new TemporaryDir();
  writeFileSync(dir.join('file'), '');
  symlinkSync(dir.join('file'), dir.join('link'));
  for (const path of [dir.join('file'), dir.join('link'), '/nowhere']) {
    expect(pathSeenBy(process.pid, path)).toBe(path);
  }
});
