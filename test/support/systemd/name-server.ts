/** A name server for one name: `name-server.ts NAME`, on port 53 of loopback. Answers with 127.0.0.1, and to the rest that there is no such name. */
import { createSocket } from 'node:dgram';
import { execFileSync } from 'node:child_process';

const HEADER_BYTES = 12;
const TYPE_A = 1;
/** Response, recursion available. */
const FLAGS = 0x81_80;
const NO_SUCH_NAME = 3;

const wanted = process.argv[2] ?? '';
const socket = createSocket('udp4');
socket.on('message', (query, { port, address }) => {
  const { name, end } = readName(query);
  const known = name === wanted;
  const asksForAddress = query.readUInt16BE(end) === TYPE_A;
  const header = Buffer.from(query.subarray(0, HEADER_BYTES));
  header.writeUInt16BE(FLAGS | (known ? 0 : NO_SUCH_NAME), 2);
  header.writeUInt16BE(known && asksForAddress ? 1 : 0, 6);
  header.writeUInt32BE(0, 8);
  // The name by its place in the question, type A, class IN, no time to live, four bytes.
  const answer =
    known && asksForAddress ? [0xc0, HEADER_BYTES, 0, TYPE_A, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1] : [];
  socket.send(
    Buffer.concat([header, query.subarray(HEADER_BYTES, end + 4), Buffer.from(answer)]),
    port,
    address,
  );
});
socket.bind(53, '127.0.0.1', () => {
  execFileSync('systemd-notify', ['--ready']);
});

function readName(query: Buffer): { readonly name: string; readonly end: number } {
  const labels: string[] = [];
  let at = HEADER_BYTES;
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join('.').toLowerCase(), end: at + 1 };
}
