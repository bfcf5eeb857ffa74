while (true) std.out.puts(".".repeat(1000));
