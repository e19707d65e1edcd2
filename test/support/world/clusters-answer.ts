/** What Envoy answers to `GET /clusters?format=json`. */
interface ClustersAnswer {
  readonly cluster_statuses: readonly {
    readonly name: string;
    readonly host_statuses?: readonly {
      readonly address: {
        readonly socket_address: { readonly address: string; readonly port_value: number };
      };
    }[];
  }[];
}

/**
 * The endpoints of some clusters: `127.0.0.1:10001`.
 *
 * @param body answer of Envoy to `GET /clusters?format=json`
 */
export function endpointsIn(body: string, isWanted: (cluster: string) => boolean): readonly string[] {
  const { cluster_statuses: clusters } = JSON.parse(body) as ClustersAnswer;
  return clusters
    .filter(({ name }) => isWanted(name))
    .flatMap((cluster) => cluster.host_statuses ?? [])
    .map(({ address: { socket_address: socket } }) => `${socket.address}:${socket.port_value}`);
}
