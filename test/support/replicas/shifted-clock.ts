/**
 * Preloaded into a companion with `--import`: its wall clock is off by `CLOCK_SHIFT_MS` from SIGUSR2 on,
 * as after an operator set it. The monotonic clock goes on, as it does on a real host.
 */
import process from 'node:process';

const shiftMs = Number(process.env['CLOCK_SHIFT_MS']);
const RealDate = Date;
const { now } = RealDate;
let offMs = 0;

Date.now = () => now() + offMs;
globalThis.Date = new Proxy(RealDate, {
  construct: (target, given: readonly unknown[], asked) =>
    Reflect.construct(target, given.some(() => true) ? given : [Date.now()], asked) as object,
});

process.on('SIGUSR2', () => {
  offMs = shiftMs;
});
