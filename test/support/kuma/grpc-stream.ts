import { type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';

/** gRPC status codes that a control plane ends streams with. */
export const GRPC_STATUS = { unknown: 2, unimplemented: 12 } as const;

const PREFIX_BYTES = 5;

/** The server's end of one bidirectional gRPC stream, messages still encoded. */
export class GrpcStream {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly #stream: ServerHttp2Stream;
  readonly #closed = Promise.withResolvers<void>();
  #buffered: Buffer = Buffer.alloc(0);
  #trailers: Record<string, string> = { 'grpc-status': '0' };

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders) {
    this.#stream = stream;
    this.headers = headers;
    this.path = headers[':path'] ?? '';
    stream.on('error', () => {
      // A reset stream is a closed stream; 'close' follows.
    });
    stream.on('wantTrailers', () => {
      stream.sendTrailers(this.#trailers);
    });
    stream.once('close', () => {
      this.#closed.resolve();
    });
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  }

  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  get open(): boolean {
    return !this.#stream.destroyed && !this.#stream.writableEnded;
  }

  onMessage(handle: (message: Buffer) => void): void {
    this.#stream.on('data', (chunk: Buffer) => {
      this.#buffered = Buffer.concat([this.#buffered, chunk]);
      for (let message = this.#take(); message !== undefined; message = this.#take()) handle(message);
    });
    this.#stream.on('end', () => {
      this.fail(0, '');
    });
  }

  send(message: Buffer): void {
    if (!this.open) return;
    const prefix = Buffer.alloc(PREFIX_BYTES);
    prefix.writeUInt32BE(message.length, 1);
    this.#stream.write(Buffer.concat([prefix, message]));
  }

  /** Ends the stream as a gRPC server does when a callback returns an error. */
  fail(status: number, message: string): void {
    if (!this.open) return;
    this.#trailers = { 'grpc-status': String(status), 'grpc-message': encodeURIComponent(message) };
    this.#stream.end();
  }

  /** Cuts the stream without a status. */
  destroy(): void {
    this.#stream.destroy();
  }

  #take(): Buffer | undefined {
    if (this.#buffered.length < PREFIX_BYTES) return undefined;
    const end = PREFIX_BYTES + this.#buffered.readUInt32BE(1);
    if (this.#buffered.length < end) return undefined;
    const message = this.#buffered.subarray(PREFIX_BYTES, end);
    this.#buffered = this.#buffered.subarray(end);
    return message;
  }
}
