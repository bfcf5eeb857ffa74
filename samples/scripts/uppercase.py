"""Standard input in capitals, as UTF-8: for python3.12; micropython knows ASCII letters only."""

import sys

for line in sys.stdin:
    sys.stdout.write(line.upper())
