import { credentials, Metadata, status, type ServiceError } from '@grpc/grpc-js';

import { OperationalError } from '../../kernel/errors.ts';
import {
  AdminClient as WireClient,
  type GetStatusRequest,
  type GetStatusResponse,
  type ReleaseBrakeRequest,
  type ReleaseBrakeResponse,
  type SweepRequest,
  type SweepResponse,
  type UndoRequest,
  type UndoResponse,
} from '../../proto/gen/deregistrar/v1/admin.ts';

/** The operators' calls to the program on this host. */
export interface AdminClient {
  getStatus(request: GetStatusRequest): Promise<GetStatusResponse>;
  sweep(request: SweepRequest): Promise<SweepResponse>;
  undo(request: UndoRequest): Promise<UndoResponse>;
  releaseBrake(request: ReleaseBrakeRequest): Promise<ReleaseBrakeResponse>;
}

const DEADLINE_MS = 20_000;

/**
 * Asks the program behind the Unix socket `path`; the connection is closed after `use`.
 *
 * @throws {@link OperationalError} `ENDPOINT_UNREACHABLE` if no process listens or this user may not connect, otherwise
 *   `ENDPOINT_REJECTED` with the program's message
 */
export async function withAdminClient<T>(path: string, use: (client: AdminClient) => Promise<T>): Promise<T> {
  const wire = new WireClient(`unix:${path}`, credentials.createInsecure(), {
    'grpc.enable_http_proxy': 0,
    // A fleet of ten thousand is a few megabytes.
    'grpc.max_receive_message_length': 64 * 1_024 * 1_024,
  });
  const settle =
    <Response>(resolve: (response: Response) => void, reject: (error: unknown) => void): Settle<Response> =>
    (error, response) => {
      if (error === null) resolve(response);
      else reject(translate(path, error));
    };
  const options = { deadline: Date.now() + DEADLINE_MS };
  const metadata = new Metadata();
  try {
    return await use({
      getStatus: (request) =>
        new Promise((resolve, reject) => wire.getStatus(request, metadata, options, settle(resolve, reject))),
      sweep: (request) =>
        new Promise((resolve, reject) => wire.sweep(request, metadata, options, settle(resolve, reject))),
      undo: (request) =>
        new Promise((resolve, reject) => wire.undo(request, metadata, options, settle(resolve, reject))),
      releaseBrake: (request) =>
        new Promise((resolve, reject) =>
          wire.releaseBrake(request, metadata, options, settle(resolve, reject)),
        ),
    });
  } finally {
    wire.close();
  }
}

type Settle<Response> = (error: ServiceError | null, response: Response) => void;

function translate(path: string, error: ServiceError): OperationalError {
  if (error.code === status.UNAVAILABLE) {
    return new OperationalError(
      'ENDPOINT_UNREACHABLE',
      `Cannot reach kuma-deregistrar at "${path}": does it run here, and may you open that socket? (--admin-socket)`,
      { cause: error },
    );
  }
  return new OperationalError('ENDPOINT_REJECTED', error.details, { cause: error });
}
