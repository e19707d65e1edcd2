/** The port, whose methods fail as `failureOf` says: with which error now, or `undefined` to let the call through. */
export function failable<Port extends object>(
  port: Port,
  failureOf: (method: string) => Error | undefined,
): Port {
  return new Proxy(port, {
    get(target, method) {
      const member: unknown = Reflect.get(target, method);
      if (typeof member !== 'function') return member;
      return (...given: readonly unknown[]): unknown => {
        const failure = failureOf(String(method));
        return failure === undefined ? Reflect.apply(member, target, given) : Promise.reject(failure);
      };
    },
  });
}
