import sys

while data := sys.stdin.buffer.read(65536):
    sys.stdout.buffer.write(data)
