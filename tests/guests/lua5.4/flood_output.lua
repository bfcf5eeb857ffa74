while true do io.write(("."):rep(1000)) end
