import {
  type ClientDuplexStream,
  Client,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type sendUnaryData,
  type ServerUnaryCall,
} from '@grpc/grpc-js';

import { type ApplicationOptions, INSTANCE_HEADER } from './http-application.ts';

const UNARY = '/echo.Echo/Unary';
const STREAM = '/echo.Echo/Stream';

const asIs = (message: Buffer): Buffer => message;
const codec = {
  requestSerialize: asIs,
  requestDeserialize: asIs,
  responseSerialize: asIs,
  responseDeserialize: asIs,
};

const SERVICE = {
  unary: { path: UNARY, requestStream: false, responseStream: false, ...codec },
  stream: { path: STREAM, requestStream: true, responseStream: true, ...codec },
};

/** A gRPC backend: one call that is answered with its own message after `delay-ms` of its metadata, one stream of echoes. */
export class GrpcApplication implements AsyncDisposable {
  readonly #server = new Server();
  #port = 0;

  private constructor(name: string) {
    const answered = (): Metadata => {
      const metadata = new Metadata();
      metadata.set(INSTANCE_HEADER, name);
      return metadata;
    };
    this.#server.addService(SERVICE, {
      unary: (call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) => {
        call.sendMetadata(answered());
        const delayMs = Number(call.metadata.get('delay-ms')[0] ?? 0);
        setTimeout(() => {
          callback(null, call.request);
        }, delayMs);
      },
      stream: (call: ServerDuplexStream<Buffer, Buffer>) => {
        call.sendMetadata(answered());
        call.on('data', (message: Buffer) => call.write(message));
        call.on('end', () => {
          call.end();
        });
        call.on('error', () => {
          // The client went away.
        });
      },
    });
  }

  static async start({ name, port = 0 }: ApplicationOptions): Promise<GrpcApplication> {
    const application = new GrpcApplication(name);
    application.#port = await new Promise<number>((bound, failed) => {
      application.#server.bindAsync(
        `127.0.0.1:${port}`,
        ServerCredentials.createInsecure(),
        (error, boundPort) => {
          if (error === null) bound(boundPort);
          else failed(error);
        },
      );
    });
    return application;
  }

  get port(): number {
    return this.#port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.forceShutdown();
    await Promise.resolve();
  }
}

/** A client of a {@link GrpcApplication} with a connection of its own. */
export class GrpcEchoClient {
  readonly #client: Client;

  constructor(port: number) {
    this.#client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
    });
  }

  /** @returns the instance that answered. @throws Error for every status but OK */
  unary(delayMs: number, signal: AbortSignal): Promise<string> {
    const metadata = new Metadata();
    metadata.set('delay-ms', String(delayMs));
    return new Promise((resolve, reject) => {
      let instance = '';
      const call = this.#client.makeUnaryRequest(
        UNARY,
        asIs,
        asIs,
        Buffer.from('ping'),
        metadata,
        (error) => {
          if (error === null) resolve(instance);
          else reject(error);
        },
      );
      call.on('metadata', (answered: Metadata) => {
        instance = String(answered.get(INSTANCE_HEADER)[0] ?? '');
      });
      signal.addEventListener('abort', () => {
        call.cancel();
      });
    });
  }

  stream(): ClientDuplexStream<Buffer, Buffer> {
    return this.#client.makeBidiStreamRequest(STREAM, asIs, asIs, new Metadata());
  }

  close(): void {
    this.#client.close();
  }
}
