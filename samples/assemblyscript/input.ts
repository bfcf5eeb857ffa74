/** Returns the whole of standard input. */
export function readAll(): string {
  const parts = new Array<u8>();
  const buffer = new ArrayBuffer(65536);
  const bytes = Uint8Array.wrap(buffer);
  for (let size = process.stdin.read(buffer); size > 0; size = process.stdin.read(buffer)) {
    for (let i = 0; i < <i32>size; i++) parts.push(bytes[i]);
  }
  return String.UTF8.decodeUnsafe(parts.dataStart, parts.length);
}
