/**
 * Replaces, inside the bundle, the parts of packages that are off by default and stay off here, but cost every idle
 * agent memory when they are loaded. Code that does use one fails with an error.
 */
class Unused {
  constructor() {
    throw new TypeError('This part of a package is not in the bundle');
  }
}

module.exports = Object.assign(Unused, {
  constants: {},
  CacheError: Unused,
  Http2ServerResponse: Unused,
  default: Unused,
});
