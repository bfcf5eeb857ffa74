io.write(io.read(4))
