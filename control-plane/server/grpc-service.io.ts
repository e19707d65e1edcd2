import type { ServerInterceptor, ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';

/** What a listener serves: a generated definition and its handlers. */
export interface GrpcService {
  readonly definition: ServiceDefinition;
  readonly implementation: UntypedServiceImplementation;
  /** See every call of the listener: they look at its path. */
  readonly interceptors?: readonly ServerInterceptor[];
}

/** Its full name: `deregistrar.v1.Admin`. */
export function nameOfService(definition: ServiceDefinition): string {
  const [method] = Object.values(definition);
  return method?.path.split('/')[1] ?? '';
}
