import type { ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import type { PackageDefinition } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';

import { FILE_DESCRIPTORS } from '../../proto/gen/descriptors.ts';
import type { GrpcService } from './grpc-service.io.ts';

/**
 * Server reflection, v1 and v1alpha: `grpcurl` and its like need no .proto files.
 *
 * @param services the full names of those to list
 * @see https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
 */
export function reflectionServices(services: readonly string[]): readonly GrpcService[] {
  const fileDescriptorProtos = FILE_DESCRIPTORS.map((base64) => Buffer.from(base64, 'base64'));
  // The used part of a package definition.
  const definitions = { contract: { fileDescriptorProtos } } as unknown as PackageDefinition;
  const added: GrpcService[] = [];
  new ReflectionService(definitions, { services: [...services] }).addToServer({
    addService: (definition: ServiceDefinition, implementation: UntypedServiceImplementation) => {
      added.push({ definition, implementation });
    },
  });
  return added;
}
