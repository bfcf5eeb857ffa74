// Standard input in capitals.
std.out.puts(std.in.readAsString().toUpperCase());
