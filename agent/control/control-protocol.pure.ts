import * as z from 'zod/mini';
import { parseJson } from '../../kernel/json.ts';

/**
 * The protocol of a running agent's control socket: one JSON line each way, then the connection ends. The mode of the
 * socket decides who may connect.
 */
export const ControlRequest = z.discriminatedUnion('ask', [
  z.object({ v: z.literal(1), ask: z.literal('status') }),
  z.object({
    v: z.literal(1),
    ask: z.enum(['drain', 'resume']),
    wait: z.boolean(),
    timeoutMs: z.number().check(z.gte(0), z.lte(3_600_000)),
  }),
]);
export type ControlRequest = z.infer<typeof ControlRequest>;

export const AgentStatusReport = z.object({
  phase: z.string(),
  /** The dataplane stands by after SIGUSR2: deregistered for good. */
  standby: z.boolean(),
  label: z.string(),
  incarnation: z.string(),
  lifecycle: z.string(),
  version: z.string(),
  upMs: z.number(),
  kumaDpPid: z.optional(z.number()),
  envoy: z.boolean(),
  endpoints: z.array(z.object({ url: z.string(), reachable: z.optional(z.boolean()) })),
  /** Left out where no companion is configured. */
  companion: z.optional(z.object({ attached: z.boolean(), epoch: z.optional(z.number()) })),
  settleMs: z.number(),
  rotation: z.enum(['in', 'turning out', 'out', 'turning in']),
  since: z.optional(z.string()),
  /** What a draining stop waits for. */
  hold: z.optional(z.string()),
});
export type AgentStatusReport = z.infer<typeof AgentStatusReport>;

export const ControlAnswer = z.discriminatedUnion('answer', [
  z.object({ v: z.literal(1), answer: z.literal('status'), status: AgentStatusReport }),
  z.object({
    v: z.literal(1),
    answer: z.literal('rotation'),
    outcome: z.enum(['done', 'pending', 'refused', 'stopping']),
    changed: z.boolean(),
    detail: z.string(),
  }),
  z.object({ v: z.literal(1), answer: z.literal('invalid'), detail: z.string() }),
]);
export type ControlAnswer = z.infer<typeof ControlAnswer>;

/** Longer than any request there is. */
export const MAX_LINE_BYTES = 4_096;
/** `sun_path` of unix(7) has 108 bytes, the last of them 0. */
const MAX_SOCKET_PATH_BYTES = 107;

/** @returns the problem in words if it is no request */
export function readRequest(line: string): ControlRequest | string {
  const parsed = ControlRequest.safeParse(parseJson(line));
  return parsed.success ? parsed.data : 'unknown request';
}

/** @returns `undefined` if it is no answer of an agent */
export function readAnswer(line: string): ControlAnswer | undefined {
  const parsed = ControlAnswer.safeParse(parseJson(line));
  return parsed.success ? parsed.data : undefined;
}

/** The control socket beside a state file. */
export function socketPathOf(stateFile: string): string {
  return `${stateFile.replace(/\.json$/, '')}.sock`;
}

/** @returns the problem in words */
export function socketPathProblem(path: string): string | undefined {
  const bytes = new TextEncoder().encode(path).length;
  if (bytes <= MAX_SOCKET_PATH_BYTES) return undefined;
  return `the path of its socket is longer than ${MAX_SOCKET_PATH_BYTES} bytes (${bytes}): choose a shorter --state-dir: ${path}`;
}
