import type { EnvoyAdmin } from '../../agent/ports.ts';

/** Envoy's `/stats` with that many requests in progress and begun on one HTTP inbound. */
export function statsOf(active: number, begun: number): string {
  return [
    'http.admin.downstream_cx_active: 2',
    'http.admin.downstream_rq_active: 1',
    'http.admin.downstream_rq_total: 17',
    `http.localhost_20001.downstream_rq_active: ${active}`,
    `http.localhost_20001.downstream_rq_total: ${begun}`,
  ].join('\n');
}

/** Envoy's dump of one HTTP inbound on 10001 and one HTTP outbound on 30001, as {@link statsOf} counts them. */
function listenerDump(): unknown {
  return {
    configs: [
      listener({
        direction: 'INBOUND',
        name: 'inbound:127.0.0.1:10001',
        port: 10_001,
        prefix: 'localhost_20001',
      }),
      listener({ direction: 'OUTBOUND', name: 'outbound:127.0.0.1:30001', port: 30_001, prefix: 'backend' }),
    ],
  };
}

function listener(of: {
  readonly direction: string;
  readonly name: string;
  readonly port: number;
  readonly prefix: string;
}): unknown {
  return {
    active_state: {
      listener: {
        name: of.name,
        traffic_direction: of.direction,
        address: { socket_address: { address: '127.0.0.1', port_value: of.port } },
        filter_chains: [{ filters: [{ typed_config: { stat_prefix: of.prefix } }] }],
      },
    },
  };
}

/** An admin interface whose answers are set by hand. */
export class FakeEnvoyAdmin implements EnvoyAdmin {
  asked = 0;
  closed = false;
  readonly healthchecks: ('fail' | 'ok')[] = [];
  onStats: () => Promise<string> = () => Promise.resolve(statsOf(0, 0));
  onListeners: () => Promise<unknown> = () => Promise.resolve({ listener_statuses: [] });
  onListenerConfig: () => Promise<unknown> = () => Promise.resolve(listenerDump());

  stats(): Promise<string> {
    this.asked += 1;
    return this.onStats();
  }

  listeners(): Promise<unknown> {
    this.asked += 1;
    return this.onListeners();
  }

  listenerConfig(): Promise<unknown> {
    return this.onListenerConfig();
  }

  healthcheck(say: 'fail' | 'ok'): Promise<void> {
    this.healthchecks.push(say);
    return Promise.resolve();
  }

  close(): void {
    this.closed = true;
  }
}
