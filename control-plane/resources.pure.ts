/**
 * What calls use of the companion, by its name in metrics:
 *
 * - `streams`: open Attach streams;
 * - `calls`: calls that are under way or wait for their turn;
 * - `requests`: calls begun within a minute;
 * - `unread-calls`: calls whose token can only be checked once their message has been read;
 * - `key-lookups`: signing keys that are asked for at the control plane.
 */
export const RESOURCES = ['streams', 'calls', 'requests', 'unread-calls', 'key-lookups'] as const;
export type Resource = (typeof RESOURCES)[number];
