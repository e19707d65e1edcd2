import type { Clock } from '../../kernel/clock.ts';
import { formatListenerAddress } from '../../kernel/listener-address.ts';
import type { MetricsOptions } from './metrics-options.pure.ts';
import type * as metricsListener from './metrics-listener.io.ts';
import { CountersFile } from './counters-file.io.ts';
import type { RunView } from './run-view.pure.ts';
import {
  goOnFrom,
  NO_COUNTERS,
  countDeregistration,
  countPacing,
  countRecreation,
  countStop,
  type Counters,
} from './counters.pure.ts';
import type { AgentEvents } from '../events.ts';

export interface RunMetricsDeps {
  readonly clock: Clock;
  readonly events: AgentEvents;
  readonly place: metricsListener.MetricsPlace;
}

/**
 * A run's metrics and their listener, for `--metrics` only. A failure costs a warning and nothing else. prom-client and
 * the HTTP server are loaded when the run begins: an upgrade may replace the files while a start waits.
 */
export class RunMetrics {
  readonly #deps: RunMetricsDeps;
  readonly #startedAtMs: number;
  #counters: Counters = NO_COUNTERS;
  #file: CountersFile | undefined;
  #warned = false;
  #written: Promise<void> = Promise.resolve();
  readonly #listener: Promise<typeof metricsListener>;

  private constructor(deps: RunMetricsDeps) {
    this.#deps = deps;
    this.#listener = import('./metrics-listener.io.ts');
    this.#listener.catch(() => {
      // open() reports it.
    });
    this.#startedAtMs = deps.clock.wallMs();
  }

  /** @returns `undefined` where they are not asked for */
  static of(deps: Omit<RunMetricsDeps, 'place'>, options: MetricsOptions): RunMetrics | undefined {
    const { metrics: address, metricsTokenFile, metricsCertificateFile, metricsKeyFile } = options;
    if (address === 'off') return undefined;
    const files = {
      tokenFile: metricsTokenFile,
      certificateFile: metricsCertificateFile,
      keyFile: metricsKeyFile,
    };
    return new RunMetrics({ ...deps, place: { address, ...files } });
  }

  /** The same events. Each event with a counter increments it. */
  get events(): AgentEvents {
    const { events } = this.#deps;
    return {
      ...events,
      startPaced: (waitMs) => {
        events.startPaced(waitMs);
        this.#count(countPacing(this.#counters, waitMs));
      },
      deregistered: (result) => {
        events.deregistered(result);
        this.#count(countDeregistration(this.#counters, result));
      },
      confirmed: (confirmed) => {
        events.confirmed(confirmed);
        if (confirmed.outcome === 'deleted again') this.#count(countRecreation(this.#counters));
      },
      stopReported: (report) => {
        events.stopReported(report);
        this.#count(countStop(this.#counters, report));
      },
    };
  }

  /**
   * Continues the counters of the previous run under this name.
   *
   * @param urls the endpoints of this run
   */
  onDerived(stateFile: string, urls: readonly string[]): void {
    const file = new CountersFile(stateFile);
    let previous: Counters | undefined;
    try {
      previous = file.read();
    } catch (error) {
      this.#deps.events.countsForgotten(error);
    }
    this.#file = file;
    this.#count(previous === undefined ? this.#counters : goOnFrom(previous, this.#counters, urls));
  }

  /**
   * Marks the end of the run, so that the next one does not count it as killed. Settles when the counters are on disk
   * or given up.
   */
  onEnd(): Promise<void> {
    this.#count({ ...this.#counters, open: false });
    return this.#written;
  }

  /** @returns `undefined` if it cannot listen, which it logs */
  async open(view: () => RunView): Promise<{ close(): void } | undefined> {
    const { place, events } = this.#deps;
    try {
      const { openMetricsListener } = await this.#listener;
      const listener = await openMetricsListener(place, {
        read: () => ({ ...view(), counters: this.#counters }),
        startedAtMs: this.#startedAtMs,
        onError: events.failedUnexpectedly,
        onFileKept: events.fileKept,
      });
      events.metricsServed(listener.address);
      return listener;
    } catch (error) {
      events.metricsUnavailable(formatListenerAddress(place.address), error);
      return undefined;
    }
  }

  #count(counters: Counters): void {
    this.#counters = counters;
    if (this.#file === undefined) return;
    this.#written = this.#file.write(counters).catch((error: unknown) => {
      if (!this.#warned) this.#deps.events.countsForgotten(error);
      this.#warned = true;
    });
  }
}
