/**
 * Six things that happen to one of three instances under load: its host is lost while its control plane lives, with the
 * companion and with Kuma alone; a restart as the systemd unit of Kuma's documentation does it, and with kuma-dp-agent in
 * front; its host losing power while the control plane is down, with and without the companion. Prints what happens while
 * it happens, then all of it in one table.
 *
 * The control plane is an emulator; dataplanes, peers and load are real Envoys and real requests on this machine.
 */
import { isolate } from './isolation.ts';
import { LOST_HOST_SCENES } from './lost-host.ts';
import { POWER_LOSS_SCENES } from './power-loss.ts';
import { RESTART_SCENES } from './restart.ts';
import { AFFECTED, NAMES, RATE_PER_SECOND, type Play, type DemoScene } from './scene.ts';
import { DemoTimeline } from './timeline.ts';

const isolation = isolate();
if (isolation.kind === 'elsewhere') process.exit(isolation.exitCode);

const interrupted = new AbortController();
process.once('SIGINT', () => {
  interrupted.abort(new Error('interrupted'));
});

const disposables = new AsyncDisposableStack();
try {
  await Promise.race([demonstrate(disposables), aborted(interrupted.signal)]);
} catch (error) {
  if (!interrupted.signal.aborted) throw error;
} finally {
  await disposables.disposeAsync();
}
if (interrupted.signal.aborted) {
  console.log('\nInterrupted; nothing is left running.');
  // What waits for milestones that will never come must not hold the terminal.
  process.exit(130);
}

async function demonstrate(stack: AsyncDisposableStack): Promise<void> {
  const timeline = new DemoTimeline();
  console.log(
    `Meshes of ${NAMES.length} instances each and one peer, ${RATE_PER_SECOND} requests/s, no retries. Starting two …`,
  );
  if (isolation.kind === 'missing')
    console.log(`Left out: the lost host, which needs network namespaces (${isolation.reason}).`);
  else
    await playTogether(LOST_HOST_SCENES, timeline, {
      stack,
      opening: `The host of ${AFFECTED} falls silent in both. Seconds since then:`,
    });
  console.log('\nStarting the next two …');
  await playTogether(RESTART_SCENES, timeline, {
    stack,
    opening: `Restarting ${AFFECTED} in both. Seconds since then:`,
  });
  console.log('\nStarting the next two …');
  await playTogether(POWER_LOSS_SCENES, timeline, {
    stack,
    opening: `The control plane goes down, the host of ${AFFECTED} loses power, the control plane comes back. Seconds since it is back:`,
  });
  console.log('');
  timeline.print();
  console.log(
    '\nLost hosts and restarts count from the event, power losses from the return of the control plane.',
  );
}

/** Two at a time, at the same moment: that much a small machine bears. What they started ends with them. */
async function playTogether(
  scenes: readonly DemoScene[],
  timeline: DemoTimeline,
  { stack, opening }: { readonly stack: AsyncDisposableStack; readonly opening: string },
): Promise<void> {
  await using meshes = stack.use(new AsyncDisposableStack());
  const plays: readonly Play[] = await Promise.all(scenes.map(({ start }) => start(meshes)));
  console.log(`${opening}\n`);
  await Promise.all(plays.map((play, at) => play(timeline.notes(scenes[at]?.title ?? ''))));
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
}
