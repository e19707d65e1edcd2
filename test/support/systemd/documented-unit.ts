/**
 * The unit of Kuma's documentation for a dataplane, on paths of ours, with an environment file of the test's own.
 *
 * @see https://developer.konghq.com/mesh/systemd/
 */
export const DOCUMENTED_UNIT = documentedUnit('dataplane.yaml', 'token', 'kuma-dp');

/** The same for several on one host. */
export const DOCUMENTED_TEMPLATE = documentedUnit('%i.yaml', '%i.token', 'kuma-dp-%i');

function documentedUnit(resource: string, token: string, defaults: string): string {
  return `[Unit]
Description = Kuma data plane proxy
After = network.target
[Service]
User = kuma-dp
WorkingDirectory = /var/lib/kuma-dp
EnvironmentFile = -/etc/default/${defaults}
ExecStart = /usr/bin/kuma-dp run --cp-address=https://localhost:5678 --dataplane-file=/etc/kuma-dp/${resource} --dataplane-token-file=/etc/kuma-dp/${token} --ca-cert-file=/etc/kuma-dp/ca.crt
Restart = always
RestartSec = 1s
LimitNOFILE = 1048576
StartLimitIntervalSec = 0
[Install]
WantedBy = multi-user.target
`;
}
