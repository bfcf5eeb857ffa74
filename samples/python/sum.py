"""The sum of the numbers in a JSON list."""

import json
import sys

from wit_world import exports


class Run(exports.Run):
    """The command."""

    def run(self) -> None:
        """Run it once."""
        print(sum(json.load(sys.stdin)))
