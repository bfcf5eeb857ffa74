assert(not io.open("/etc/passwd") and not io.open("new", "w") and not os.remove("script.lua"))
assert(not os.execute("ls"))
io.write("nothing")
