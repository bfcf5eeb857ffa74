io.write("lost") os.exit(3)
