const told = new DataView(new ArrayBuffer(28));
[Date.now(), performance.now(), Math.random()].forEach((value, i) => told.setFloat64(8 * i, value));
told.setFloat32(24, NaN, true);
std.out.write(told.buffer, 0, 28);
