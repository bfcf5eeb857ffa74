"""Its input in capital letters."""

import sys

from wit_world import exports


class Run(exports.Run):
    """The command."""

    def run(self) -> None:
        """Run it once."""
        sys.stdout.write(sys.stdin.read().upper())
