for (let i = 0; i < 1000; i++) std.err.puts(".".repeat(1000));
std.err.puts("the end\n");
