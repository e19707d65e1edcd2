// @ts-check
/**
 * Runs a program of this repository on the Node that package.json pins. Every npm script begins here, because the Node
 * that runs npm may be much older: this file and those in `run/` are plain JavaScript for Node 12.22 and later.
 *
 *     node scripts/run.cjs [--install] [--envoy] [--build] PROGRAM [ARGUMENT…]
 *
 * PROGRAM is a `.ts` file, or a tool that npm has installed, such as `vitest`. The options name what is done first:
 * `--install` installs the packages with `npm ci` unless they are there, `--envoy` finds Envoy or downloads it,
 * `--build` makes `dist/`. The first step that fails ends the run with its exit code.
 */
'use strict';

const { parse } = require('./run/decisions.cjs');
const { examine } = require('./run/host.cjs');
const { complain, prepare, finish } = require('./run/steps.cjs');

async function main() {
  const order = parse(process.argv.slice(2));
  if (complain(examine(order))) return 1;
  for (const step of prepare(order)) {
    const code = await step();
    if (code !== 0) return code;
  }
  return finish(order);
}

main().then(
  (code) => {
    process.exitCode = code;
  },
  (error) => {
    console.error(error.message);
    process.exitCode = 1;
  },
);
