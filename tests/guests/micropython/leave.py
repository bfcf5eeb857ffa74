import sys

print("lost")
sys.exit(3)
