// @ts-check
/** What `scripts/run.cjs` decides, apart from the machine. Plain JavaScript for Node 12.22 and later. */
'use strict';

/** The oldest versions that were tried. Below npm 7, package-lock.json cannot be read. */
const OLDEST_NODE = '12.22.0';
const OLDEST_NPM = '8.5.0';
/** The processors that Node's pinned packages are made for, in Node's words. */
const PROCESSORS = ['x64', 'arm64'];
/** Of the packages (650 MB), Envoy (90 MB) and what is built (10 MB). */
const NEEDED_MB = 800;
const OPTIONS = ['--install', '--envoy', '--build'];

/**
 * @typedef {object} Order
 * @property {boolean} install
 * @property {boolean} envoy
 * @property {boolean} build
 * @property {string} program
 * @property {readonly string[]} argv
 */

/**
 * @param {readonly string[]} argv
 * @returns {Order}
 * @throws Error with the usage
 */
function parse(argv) {
  const at = argv.findIndex((word) => !OPTIONS.includes(word));
  const program = at < 0 ? undefined : argv[at];
  if (program === undefined || program.startsWith('-'))
    throw new Error(`Usage: node scripts/run.cjs [${OPTIONS.join('] [')}] PROGRAM [ARGUMENT...]`);
  const options = argv.slice(0, at);
  return {
    install: options.includes('--install'),
    envoy: options.includes('--envoy'),
    build: options.includes('--build'),
    program,
    argv: argv.slice(at + 1),
  };
}

/**
 * @typedef {object} Host
 * @property {string} platform in Node's words
 * @property {string} processor in Node's words
 * @property {boolean} glibc
 * @property {string} node version
 * @property {string | undefined} npm version; `undefined` if npm did not start this
 * @property {number | undefined} freeMb room for the packages, where they have to be installed
 * @property {string | undefined} unwritable why the checkout cannot be written, as an error code
 * @property {'ready' | 'no venv' | 'missing' | 'not needed'} python
 * @property {string} folder of the checkout
 */

/**
 * What prevents the run, found before it begins.
 *
 * @param {Host} host
 * @returns {readonly string[]} one line each: what is missing, and what brings it
 */
function unmet(host) {
  return [unfitMachine, oldTools, unwritable, littleRoom, missingPython].flatMap((check) => check(host));
}

/** @param {Host} host */
function unfitMachine({ platform, processor, glibc }) {
  if (platform !== 'linux') return [`Linux is needed; this is ${platform}. Use a Linux host or a container.`];
  if (!PROCESSORS.includes(processor))
    return [`An x64 or arm64 processor is needed; this one is ${processor}. Use another host.`];
  if (!glibc)
    return ['glibc is needed; this system has another C library. Use Debian, Ubuntu, Fedora or the like.'];
  return [];
}

/** @param {Host} host */
function oldTools({ node, npm }) {
  const lines = [];
  if (older(node, OLDEST_NODE))
    lines.push(`Node ${node} is too old: ${OLDEST_NODE} or later is needed. Install a newer nodejs.`);
  if (npm !== undefined && older(npm, OLDEST_NPM))
    lines.push(
      `npm ${npm} is too old: ${OLDEST_NPM} or later is needed. Install it: npm install --global npm`,
    );
  return lines;
}

/** @param {Host} host */
function unwritable({ unwritable: code, folder }) {
  if (code === undefined) return [];
  const reason = code === 'EROFS' ? 'its file system is read-only' : code;
  return [`Cannot write to ${folder}: ${reason}. Clone to a folder that you can write to.`];
}

/** @param {Host} host */
function littleRoom({ freeMb, folder }) {
  if (freeMb === undefined || freeMb >= NEEDED_MB) return [];
  return [`${folder} has ${freeMb} MB free, and the packages need ${NEEDED_MB} MB. Free some space there.`];
}

/** @param {Host} host */
function missingPython({ python }) {
  const instead = 'Or set ENVOY_BIN to an envoy that you have.';
  if (python === 'missing')
    return [`Python 3 is missing, which downloads Envoy: apt-get install python3-venv. ${instead}`];
  if (python === 'no venv')
    return [
      `Python's venv module is missing, which downloads Envoy: apt-get install python3-venv. ${instead}`,
    ];
  return [];
}

/**
 * @param {string} version
 * @param {string} oldest
 */
function older(version, oldest) {
  const found = version.split(/[.-]/).map(Number);
  const needed = oldest.split('.').map(Number);
  const at = needed.findIndex((part, index) => part !== found[index]);
  return at >= 0 && !(Number(found[at]) > Number(needed[at]));
}

/**
 * @typedef {{ readonly platform: string, readonly processor: string }} Machine in Node's words
 * @typedef {{ readonly version?: string, readonly optional?: boolean,
 *   readonly os?: string | readonly string[], readonly cpu?: string | readonly string[],
 *   readonly libc?: string | readonly string[] }} LockedPackage
 * @typedef {{ readonly packages?: { readonly [path: string]: LockedPackage } }} Lockfile
 */

/**
 * Whether `npm ci` has to run. When npm is done, it lists what it has installed in a lockfile of its own; an install
 * that was cut short has none.
 *
 * @param {Lockfile} wanted `package-lock.json`
 * @param {Lockfile | undefined} installed `node_modules/.package-lock.json`
 * @param {Machine} machine
 */
function isInstalled(wanted, installed, machine) {
  if (installed === undefined) return false;
  const present = installed.packages || {};
  return Object.entries(wanted.packages || {}).every(([path, entry]) => {
    if (path === '') return true;
    const found = present[path];
    return found === undefined ? isDispensable(entry, machine) : found.version === entry.version;
  });
}

/**
 * Packages of another platform are optional, and so are the packages that only they use. npm also continues without a
 * package of this platform if it cannot install it; the tools cannot.
 *
 * @param {LockedPackage} entry
 * @param {Machine} machine
 */
function isDispensable({ optional, os, cpu, libc }, { platform, processor }) {
  if (optional !== true) return false;
  return cpu === undefined || !(allows(os, platform) && allows(cpu, processor) && allows(libc, 'glibc'));
}

/**
 * @param {Lockfile} lockfile
 * @param {Machine} machine
 * @returns {readonly string[]} the folders that an install on this machine fills
 */
function expectedFolders(lockfile, { platform, processor }) {
  return Object.entries(lockfile.packages || {})
    .filter(([path, { os, cpu }]) => path !== '' && allows(os, platform) && allows(cpu, processor))
    .map(([path]) => path);
}

/**
 * @param {string | readonly string[] | undefined} list
 * @param {string} word
 */
function allows(list, word) {
  return list === undefined || list.includes(word);
}

const NETWORK =
  /^(EAI_AGAIN|ENOTFOUND|ECONN|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT|FETCH_ERROR)/;

/** The host of the registry, or of the proxy before it, has no address or takes no connection. A slow one may still answer. */
const NO_HOST = /^(EAI_AGAIN|ENOTFOUND|ECONNREFUSED|ENETUNREACH|EHOSTUNREACH)$/;

/** @param {string} output what npm wrote to standard error */
function linesOf(output) {
  return Array.from(output.matchAll(/^npm (?:ERR!|error) +(\S.*)$/gm), ([, line = '']) => line);
}

/**
 * @param {readonly string[]} lines of npm
 * @param {string} name
 */
function fieldOf(lines, name) {
  return lines.filter((line) => line.startsWith(`${name} `)).map((line) => line.slice(name.length + 1))[0];
}

/**
 * @param {string} output what npm wrote to standard error
 * @returns {boolean} whether npm could not connect to its registry at all
 */
function hasNoRegistry(output) {
  return NO_HOST.test(fieldOf(linesOf(output), 'code') || '');
}

/**
 * @param {string} output what npm wrote to standard error
 * @returns {string} one line: why it failed, and what to do
 */
function npmFailure(output) {
  const lines = linesOf(output);
  const message = lines.find((line) => !/^(code|syscall|path|errno) /.test(line));
  const [reason, remedy] = reasonOf(fieldOf(lines, 'code') || '', fieldOf(lines, 'path'), message);
  return `Cannot install the packages with npm ci: ${reason}. ${remedy}, then run the same command again.`;
}

/**
 * @param {string} code
 * @param {string | undefined} path
 * @param {string | undefined} message
 */
function reasonOf(code, path, message) {
  const place = path === undefined ? '' : ` ${path}`;
  if (NETWORK.test(code))
    return [
      `no connection to the npm registry (${code})`,
      "Restore the network, or set npm's proxy or registry",
    ];
  if (code === 'ENOSPC' || code === 'EDQUOT') return [`no space left on the disk (${code})`, 'Free 1 GB'];
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS')
    return [`npm cannot write${place} (${code})`, 'Make it writable'];
  if (message === undefined) return ['npm has not installed everything', 'Remove node_modules'];
  if (/^spawn .*ENOENT$/.test(message)) return ['npm is missing', 'Install it (apt-get install npm)'];
  return [message, 'Correct that'];
}

module.exports = { parse, unmet, isInstalled, expectedFolders, hasNoRegistry, npmFailure };
