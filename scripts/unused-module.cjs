/**
 * Stands in, inside the bundle, for the parts of packages that are off by default and stay off here, but whose loading
 * costs every idle agent memory. Anything that did use one fails loudly.
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
