io.write(arg[1], ",", arg[2], ",", os.getenv("GREETING"))
