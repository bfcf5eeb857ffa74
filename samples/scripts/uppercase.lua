-- Standard input in capitals: Lua knows ASCII letters only.
io.write(io.read("a"):upper())
