import os
import struct
import sys
import time

told = struct.pack("<d", time.time()) + os.urandom(16) + struct.pack("<f", abs(float("inf") * 0))
sys.stdout.buffer.write(told)
