const buffer = new ArrayBuffer(4);
std.out.write(buffer, 0, std.in.read(buffer, 0, 4));
