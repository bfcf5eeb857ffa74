for _ = 1, 1000 do io.stderr:write(("."):rep(1000)) end
io.stderr:write("the end\n")
