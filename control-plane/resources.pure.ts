/**
 * The resources of the companion that calls use, by their names in metrics:
 *
 * - `streams`: open Attach streams;
 * - `calls`: calls in progress or waiting for their turn;
 * - `requests`: calls begun within a minute;
 * - `unread-calls`: calls whose token can only be checked once their message has been read;
 * - `key-lookups`: signing keys that are requested from the control plane.
 */
export const RESOURCES = ['streams', 'calls', 'requests', 'unread-calls', 'key-lookups'] as const;
export type Resource = (typeof RESOURCES)[number];
