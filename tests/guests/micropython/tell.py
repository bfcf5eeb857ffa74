import struct
import sys
import time

told = struct.pack("<qqqf", time.time_ns(), time.ticks_us(), time.ticks_cpu(), abs(float("inf") * 0))
sys.stdout.buffer.write(told)
