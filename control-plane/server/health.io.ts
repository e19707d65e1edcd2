import type { UntypedServiceImplementation } from '@grpc/grpc-js';
import { HealthImplementation, type ServingStatus } from 'grpc-health-check';

import type { GrpcService } from './grpc-service.io.ts';

/** The part of a call that `Watch` uses. */
interface WatchCall {
  end(): void;
  on(event: 'cancelled', listener: () => void): unknown;
}

/**
 * `grpc.health.v1.Health`. The status of the whole server has the empty name.
 *
 * @see https://github.com/grpc/grpc/blob/master/doc/health-checking.md
 */
export class Health {
  readonly #implementation = new HealthImplementation({ '': 'NOT_SERVING' });
  readonly #watches = new Set<WatchCall>();

  setStatus(service: string, status: ServingStatus): void {
    this.#implementation.setStatus(service, status);
  }

  /** Ends every Watch: none ends by itself, and each would delay a stop until its last moment. */
  endWatches(): void {
    for (const call of this.#watches) call.end();
  }

  service(): GrpcService {
    const services: GrpcService[] = [];
    this.#implementation.addToServer({
      addService: (definition, handlers) => {
        services.push({
          definition: definition,
          implementation: this.#noteWatches(handlers),
        });
      },
    });
    const [service] = services;
    if (service === undefined) throw new TypeError('grpc-health-check has added no service');
    return service;
  }

  #noteWatches(handlers: UntypedServiceImplementation): UntypedServiceImplementation {
    const watch = handlers['watch'] as unknown as (call: WatchCall) => void;
    const noted = (call: WatchCall): void => {
      this.#watches.add(call);
      call.on('cancelled', () => {
        this.#watches.delete(call);
      });
      watch(call);
    };
    return { ...handlers, watch: noted };
  }
}
