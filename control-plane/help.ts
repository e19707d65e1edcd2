export const USAGE = `Finishes every departure of a Kuma Universal dataplane beside its zone control plane, and never touches the living.

Usage:
  kuma-deregistrar serve [options]
  kuma-deregistrar status [--json]
  kuma-deregistrar sweep [--dry-run]
  kuma-deregistrar undo MESH/NAME
  kuma-deregistrar brake [release [--mesh MESH] [--for DURATION]]
  kuma-deregistrar doctor [options of serve]
  kuma-deregistrar version

Options of a command: kuma-deregistrar COMMAND --help
`;
