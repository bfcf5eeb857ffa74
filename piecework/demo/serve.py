"""A server on port 8000 and an agent for it, until Ctrl-C. ``make run`` starts it.

Data and logs stay in ``.run`` of the working directory, so that jobs are still there the next time.
"""

import signal
import sys
import threading
from pathlib import Path

from piecework.local import ProgramError, open_house

FOLDER = Path(".run")
PORT = 8000
LOOK_S = 0.5


def main() -> int:
    """Run both until a signal comes. Returns 1 when one of them could not start, or ended by itself."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with open_house(FOLDER, agents=1, port=PORT) as house:
            print(f"Server on {house.server.url} with one agent. Ctrl-C stops both. Data and logs: {FOLDER}")
            print("Try, in another terminal:  .venv/bin/piecework run samples/uppercase.wasm --input README.md")
            programs = (house.server, *house.agents)
            while not stop.wait(LOOK_S):
                for program in programs:
                    if program.exit_code is not None:
                        raise ProgramError(f"{program.name} ended by itself:\n{program.read_log()}")
            print("Stopping ...")
    except ProgramError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
