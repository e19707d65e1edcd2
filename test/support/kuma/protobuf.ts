/**
 * As much of the protobuf wire format as a control plane needs to talk to Envoy about a handful of messages.
 *
 * @see https://protobuf.dev/programming-guides/encoding/
 */
type FieldValue = string | number | boolean | Buffer;
export type Field = readonly [number: number, value: FieldValue];

const VARINT = 0;
const FIXED_64 = 1;
const LENGTH = 2;
const FIXED_32 = 5;

/** Encodes a message; a nested message is the `Buffer` that this function made of it. Numbers are varints. */
export function encodeMessage(fields: readonly Field[]): Buffer {
  return Buffer.concat(fields.map(([number, value]) => encodeField(number, value)));
}

/** Field number to its values in order: integers, or bytes for strings and messages. */
export function decodeMessage(bytes: Buffer): ReadonlyMap<number, readonly (number | Buffer)[]> {
  const fields = new Map<number, (number | Buffer)[]>();
  let offset = 0;
  while (offset < bytes.length) {
    const tag = readVarint(bytes, offset);
    const field = readField(bytes, tag.end, tag.value % 8);
    const number = Math.floor(tag.value / 8);
    fields.set(number, [...(fields.get(number) ?? []), field.value]);
    offset = field.end;
  }
  return fields;
}

/** The nested messages of a field. */
export function messagesAt(
  message: ReadonlyMap<number, readonly (number | Buffer)[]>,
  number: number,
): readonly ReadonlyMap<number, readonly (number | Buffer)[]>[] {
  return (message.get(number) ?? [])
    .filter((value) => typeof value !== 'number')
    .map((value) => decodeMessage(value));
}

export function stringAt(message: ReadonlyMap<number, readonly (number | Buffer)[]>, number: number): string {
  return message.get(number)?.[0]?.toString() ?? '';
}

/** google.protobuf.Duration */
export function durationMessage(durationMs: number): Buffer {
  const seconds = Math.floor(durationMs / 1_000);
  return encodeMessage([
    [1, seconds],
    [2, Math.round((durationMs - seconds * 1_000) * 1e6)],
  ]);
}

function encodeField(number: number, value: FieldValue): Buffer {
  if (typeof value === 'number' || typeof value === 'boolean') {
    return Buffer.concat([varint(number * 8 + VARINT), varint(Number(value))]);
  }
  const bytes = typeof value === 'string' ? Buffer.from(value) : value;
  return Buffer.concat([varint(number * 8 + LENGTH), varint(bytes.length), bytes]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  return Buffer.from([...bytes, rest]);
}

function readField(bytes: Buffer, offset: number, wireType: number): { value: number | Buffer; end: number } {
  switch (wireType) {
    case VARINT:
      return readVarint(bytes, offset);
    case LENGTH: {
      const length = readVarint(bytes, offset);
      const end = length.end + length.value;
      return { value: bytes.subarray(length.end, end), end };
    }
    case FIXED_64:
      return { value: bytes.subarray(offset, offset + 8), end: offset + 8 };
    case FIXED_32:
      return { value: bytes.subarray(offset, offset + 4), end: offset + 4 };
    default:
      throw new RangeError(`Cannot read protobuf wire type ${wireType}`);
  }
}

function readVarint(bytes: Buffer, offset: number): { value: number; end: number } {
  let value = 0;
  let scale = 1;
  for (let at = offset; ; at += 1) {
    const byte = bytes[at];
    if (byte === undefined) throw new RangeError('Cannot read protobuf: message ends in a number');
    value += (byte % 128) * scale;
    scale *= 128;
    if (byte < 128) return { value, end: at + 1 };
  }
}
