if (std.open("/etc/passwd", "r") || std.open("new", "w") || os.remove("script.js") >= 0) throw new Error("reached");
std.out.puts("nothing");
