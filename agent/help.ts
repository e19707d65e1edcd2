export const USAGE = `Takes a Kuma Universal dataplane out of the mesh on purpose: deregister, settle, drain, exit.

Usage:
  kuma-dp-agent run [options] -- kuma-dp run [kuma-dp's own options]
  kuma-dp-agent deregister [options] (--state FILE | --mesh MESH --name NAME)
  kuma-dp-agent drain|resume [--wait] [--timeout DURATION] [--state FILE | --mesh MESH --name NAME]
  kuma-dp-agent status [--json]
  kuma-dp-agent report [--json] [FILE]
  kuma-dp-agent plan [options] -- kuma-dp run [kuma-dp's own options]
  kuma-dp-agent doctor [options] [-- kuma-dp run [kuma-dp's own options]]
  kuma-dp-agent version

Options of a command: kuma-dp-agent COMMAND --help
`;
