for path, mode in (("/etc/passwd", "r"), ("new", "w")):
    try:
        open(path, mode)
    except OSError:
        continue
    raise RuntimeError("reached")
print("nothing", end="")
