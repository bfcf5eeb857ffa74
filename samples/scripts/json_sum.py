"""Adds up the numbers in the JSON array on standard input: for python3.12 and micropython."""

import json
import sys

numbers = json.loads(sys.stdin.read())
print(json.dumps({"sum": sum(numbers), "count": len(numbers)}))
