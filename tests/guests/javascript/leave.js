std.out.puts("lost"); std.exit(3);
