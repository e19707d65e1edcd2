import type { ServiceError } from '@grpc/grpc-js';

/** The answer of a unary call. @throws ServiceError */
export function called<Response>(
  call: (done: (error: ServiceError | null, response: Response) => void) => unknown,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    call((error, response) => {
      if (error === null) resolve(response);
      else reject(error);
    });
  });
}

/** The time limit of a call. */
export function within(budgetMs: number): { readonly deadline: number } {
  return { deadline: Date.now() + budgetMs };
}
