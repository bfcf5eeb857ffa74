io.write("kept") os.exit(3)
