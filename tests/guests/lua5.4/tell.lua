io.write(string.pack("<ddd", os.time(), os.clock(), math.random()), string.pack("<f", math.abs(0 / 0)))
