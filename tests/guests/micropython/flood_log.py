import sys

for _ in range(1000):
    sys.stderr.write("." * 1000)
sys.stderr.write("the end\n")
