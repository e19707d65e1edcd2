import { connect } from 'node:net';
import { setImmediate } from 'node:timers/promises';

import type { Clock } from '../kernel/clock.ts';

/** Where a peer's Envoy connects: an IP literal and a port. */
export interface LookPlace {
  readonly address: string;
  readonly port: number;
}

export interface LookFinding {
  readonly result: 'reached' | 'refused' | 'silent' | 'unable';
  /** Why the host that looks cannot tell; empty otherwise. */
  readonly reason: string;
}

export interface LookRequest {
  readonly clock: Clock;
  readonly targets: readonly LookPlace[];
  /** Reached before and after, or nothing is said of the targets; `closedPort`: 0 for none. */
  readonly control: (LookPlace & { readonly closedPort: number }) | undefined;
}

/** Linux repeats a SYN after 1 s: a second connect is the faster repetition. */
const SECOND_MS = 350;
const PATIENCE_MS = 700;
/** A timer that is later says that this process stood still, and may not have seen what came meanwhile. */
const LATE_MS = 100;

/** What says that the target's host, or the network before it, does not answer. */
const SILENT: ReadonlySet<string> = new Set(['ETIMEDOUT', 'EHOSTUNREACH', 'EHOSTDOWN']);

/**
 * Looks at each target by two TCP connects, at 0 and 350 ms, without a byte sent. One accepted connect decides; a host that
 * cannot tell says so. Never throws.
 */
export async function lookByTcp({ clock, targets, control }: LookRequest): Promise<readonly LookFinding[]> {
  const unable = (reason: string): readonly LookFinding[] =>
    targets.map(() => ({ result: 'unable', reason }));
  const isReached = async (place: LookPlace): Promise<boolean> =>
    (await connectOnce(clock, place, 0)).result === 'reached';
  if (control !== undefined && !(await isReached(control))) return unable('the control was not reached');
  const { address = '', closedPort = 0 } = control ?? {};
  const [findings, isRedirected] = await Promise.all([
    Promise.all(targets.map((target) => lookTwice(clock, target))),
    closedPort === 0 ? false : isReached({ address, port: closedPort }),
  ]);
  if (isRedirected) return unable('a port where nothing listens was reached: connections are redirected');
  if (control !== undefined && !(await isReached(control)))
    return findings.map((finding) =>
      finding.result === 'reached'
        ? finding
        : { result: 'unable', reason: 'the control was not reached any more' },
    );
  return findings;
}

/** A connect that was accepted counts whatever became of the other one; else both must say the same or nothing. */
async function lookTwice(clock: Clock, place: LookPlace): Promise<LookFinding> {
  const both = await Promise.all([connectOnce(clock, place, 0), connectOnce(clock, place, SECOND_MS)]);
  for (const result of ['reached', 'unable', 'silent'] as const) {
    const found = both.find((finding) => finding.result === result);
    if (found !== undefined) return found;
  }
  return both[0];
}

function connectOnce(clock: Clock, place: LookPlace, delayMs: number): Promise<LookFinding> {
  return new Promise((resolve) => {
    const startedMs = clock.monotonicMs();
    const isLate = (dueMs: number): boolean => clock.monotonicMs() - startedMs - dueMs > LATE_MS;
    const begin = (): void => {
      const socket = connect({ host: place.address, port: place.port });
      let ended = false;
      const end = (finding: LookFinding): void => {
        if (ended) return;
        ended = true;
        disarm();
        socket.destroy();
        resolve(finding);
      };
      const giveUp = async (): Promise<void> => {
        const late = isLate(PATIENCE_MS);
        // Node runs timers before sockets: what has arrived is heard first.
        await setImmediate();
        end(late ? STALLED : { result: 'silent', reason: '' });
      };
      const disarm = clock.after(PATIENCE_MS - delayMs, () => void giveUp());
      socket.once('connect', () => {
        end({ result: 'reached', reason: '' });
      });
      socket.once('error', ({ code = 'unknown' }: NodeJS.ErrnoException) => {
        if (code === 'ECONNREFUSED' || code === 'ECONNRESET') end({ result: 'refused', reason: '' });
        else if (SILENT.has(code)) end({ result: 'silent', reason: '' });
        else end({ result: 'unable', reason: code });
      });
    };
    if (delayMs === 0) begin();
    else
      clock.after(delayMs, () => {
        if (isLate(delayMs)) resolve(STALLED);
        else begin();
      });
  });
}

const STALLED: LookFinding = { result: 'unable', reason: 'this process stood still meanwhile' };
