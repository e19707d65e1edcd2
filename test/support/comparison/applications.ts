import { type Protocol } from '../kuma-worlds/kuma-world.ts';
import { EchoApplication } from '../world/echo-application.ts';
import { GrpcApplication } from '../world/grpc-echo.ts';
import { type ApplicationOptions, HttpApplication } from '../world/http-application.ts';
import { type LoadTarget } from '../world/load-requests.ts';

interface Application extends AsyncDisposable {
  readonly port: number;
}

/** An application that speaks a protocol. */
export function startApplication(protocol: Protocol, options: ApplicationOptions): Promise<Application> {
  switch (protocol) {
    case 'http':
    case 'http2':
      return HttpApplication.start(options);
    case 'grpc':
      return GrpcApplication.start(options);
    case 'tcp':
      return EchoApplication.start(options);
  }
}

/** How a client of such an application speaks. */
export const CLIENT_PROTOCOL = {
  http: 'http1',
  http2: 'http2',
  grpc: 'grpc',
  tcp: 'tcp',
} as const satisfies Record<Protocol, LoadTarget['protocol']>;
