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

/** An admin interface whose answers are set by hand. */
export class FakeEnvoyAdmin implements EnvoyAdmin {
  asked = 0;
  closed = false;
  readonly healthchecks: ('fail' | 'ok')[] = [];
  onStats: () => Promise<string> = () => Promise.resolve(statsOf(0, 0));
  onListeners: () => Promise<unknown> = () => Promise.resolve({ listener_statuses: [] });
  onListenerConfig: () => Promise<unknown> = () => Promise.resolve({ configs: [] });

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
