import os
import sys

print(sys.argv[1], sys.argv[2], os.getenv("GREETING"), sep=",", end="")
