const buffer = new ArrayBuffer(65536);
for (let size; (size = std.in.read(buffer, 0, buffer.byteLength)) > 0; ) std.out.write(buffer, 0, size);
