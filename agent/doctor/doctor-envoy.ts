import { systemClock } from '../../kernel/clock.ts';
import { describeError } from '../../kernel/errors.ts';
import type { Finding } from '../../kernel/findings.ts';
import { envoyFinder } from '../envoy/envoy.io.ts';
import { mayActAs } from '../systemd/process-facts.io.ts';
import { bounded } from './doctor-look.ts';

/** Whether a stop can see when the last request is done. */
export async function examineEnvoy(agentPid: number | undefined): Promise<Finding> {
  const about = "Envoy's admin";
  if (agentPid === undefined) {
    return { level: 'unseen', about, says: 'this user sees no agent that runs this dataplane here' };
  }
  const found = await bounded("find Envoy's admin", () => envoyFinder(systemClock).find(agentPid)).catch(
    (error: unknown) => ({ hidden: describeError(error) }),
  );
  if (found === 'absent') {
    const remedy = "see kuma-dp's log: most often its control plane does not answer";
    return { level: 'warning', about, says: 'kuma-dp has not started an Envoy', remedy };
  }
  const problem = 'hidden' in found ? found.hidden : await problemOf(found.admin);
  if (problem === undefined)
    return { level: 'ok', about, says: 'answers: a stop ends after the last request' };
  // This user cannot tell what the agent's user may do.
  if (!mayActAs(agentPid)) return { level: 'unseen', about, says: problem, remedy: AS_THE_AGENT };
  const remedy = "a stop lasts kuma-dp's full drain time: let the agent's user read Envoy's bootstrap";
  return { level: 'warning', about, says: problem, remedy };
}

const AS_THE_AGENT = 'run the doctor as the user of the unit, or as root';

async function problemOf(admin: {
  readonly listeners: () => Promise<unknown>;
  readonly close: () => void;
}): Promise<string | undefined> {
  try {
    await admin.listeners();
    return undefined;
  } catch (error) {
    return describeError(error);
  } finally {
    admin.close();
  }
}
