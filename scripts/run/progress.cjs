// @ts-check
/** The line that shows what is running. Plain JavaScript for Node 12.22 and later. */
'use strict';

const TERMINAL_EVERY_MS = 500;
/** A file or a pipe keeps every line. */
const LOG_EVERY_MS = 5000;

/** Begins at once. A terminal gets one line that changes; a file or pipe gets a new line now and then. */
class Progress {
  /**
   * @param {string} title
   * @param {() => string} [detail] how far it is
   */
  constructor(title, detail = () => '') {
    this.title = title;
    this.detail = detail;
    this.began = Date.now();
    this.terminal = process.stdout.isTTY;
    this.print(`${title} ...`);
    this.timer = setInterval(() => this.tick(), this.terminal ? TERMINAL_EVERY_MS : LOG_EVERY_MS);
  }

  tick() {
    this.print(
      `${this.title} ... ${[this.detail(), this.elapsed()].filter((word) => word !== '').join(', ')}`,
    );
  }

  /** @param {boolean} succeeded */
  end(succeeded) {
    clearInterval(this.timer);
    this.print(`${this.title}: ${succeeded ? 'done' : 'failed'} after ${this.elapsed()}`);
    if (this.terminal) process.stdout.write('\n');
  }

  elapsed() {
    return `${Math.round((Date.now() - this.began) / 1000)} s`;
  }

  /** @param {string} line */
  print(line) {
    process.stdout.write(this.terminal ? `\r${line}\u001b[K` : `${line}\n`);
  }
}

module.exports = { Progress };
