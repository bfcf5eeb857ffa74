std.out.puts("kept"); std.exit(3);
