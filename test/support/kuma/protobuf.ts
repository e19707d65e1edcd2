import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/** Messages by field number: what a control plane needs to talk to Envoy about a handful of them. */
type FieldValue = string | number | boolean | Buffer;
export type Field = readonly [number: number, value: FieldValue];

/** Encodes a message; a nested message is the `Buffer` that this function made of it. Numbers are varints. */
export function encodeMessage(fields: readonly Field[]): Buffer {
  const writer = new BinaryWriter();
  for (const [number, value] of fields) {
    if (typeof value === 'string') writer.tag(number, WireType.LengthDelimited).string(value);
    else if (Buffer.isBuffer(value)) writer.tag(number, WireType.LengthDelimited).bytes(value);
    else writer.tag(number, WireType.Varint).uint64(Number(value));
  }
  return Buffer.from(writer.finish());
}

/** Field number to its values in order: integers, or bytes for strings and messages. */
export function decodeMessage(bytes: Buffer): ReadonlyMap<number, readonly (number | Buffer)[]> {
  const fields = new Map<number, (number | Buffer)[]>();
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    const value = readValue(reader, number, type);
    if (value !== undefined) fields.set(number, [...(fields.get(number) ?? []), value]);
  }
  return fields;
}

function readValue(reader: BinaryReader, number: number, type: WireType): number | Buffer | undefined {
  if (type === WireType.Varint) return Number(reader.uint64());
  if (type === WireType.LengthDelimited) return Buffer.from(reader.bytes());
  reader.skip(type, number);
  return undefined;
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
