std.out.puts([scriptArgs[1], scriptArgs[2], std.getenv("GREETING")].join(","));
