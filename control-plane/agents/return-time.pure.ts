/** The longest pause of an agent before it attaches again; agent/companion/attach-pace.pure.ts. */
const PAUSE_MS = 10_000;
/** A replica attaches 400 agents a second and more. While it is slower, they have more time: evidence/presence.ts. */
const EACH_MS = 3;

/**
 * How long the agents of a replica that fell silent or was restarted have to attach again before any of them counts as
 * lost, in ms.
 *
 * @param agents how many of them there are
 */
export function returnTimeMs(agents: number): number {
  return PAUSE_MS + agents * EACH_MS;
}
