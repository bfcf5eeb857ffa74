"""`worker-agent`, and `python -m worker_agent`: the command, once what it needs was found."""

import sys
from typing import NoReturn

from piecework.extras import WORKER, describe_missing

INTERRUPTED = 130


def main() -> NoReturn:
    """Run the command. In an installation for clients its libraries are not there, and it says so."""
    try:
        from piecework.worker_agent.cli import main as run_command  # noqa: PLC0415
    except ModuleNotFoundError as error:
        missing = describe_missing(error, WORKER)
        if missing is None:
            raise
        sys.exit(f"worker-agent: {missing}")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    run_command()


if __name__ == "__main__":
    main()
