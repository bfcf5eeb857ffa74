import sys

print("kept")
sys.exit(3)
