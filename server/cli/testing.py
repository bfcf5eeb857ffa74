"""A server whose clock tests move: ``python -m server.cli.testing``. The rest is as ``server run`` has it."""

import mmap
import struct
from functools import cache, partial
from pathlib import Path

import click

from piecework.server.cli.starting import run_part
from piecework.server.services import system_clock
from piecework.server.settings import Settings
from piecework.server.web.parts import WHOLE

OFFSET = struct.Struct("q")
"""How the file holds by how much the clock is ahead, milliseconds."""


@cache
def _open_offset(file: Path) -> mmap.mmap:
    with file.open("rb") as opened:
        return mmap.mmap(opened.fileno(), OFFSET.size, access=mmap.ACCESS_READ)


def read_clock(file: Path) -> int:
    """Return the system's time and what a file says that the clock is ahead, milliseconds."""
    return system_clock() + int(OFFSET.unpack_from(_open_offset(file))[0])


@click.command()
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), required=True, help="Its data.")
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="Port to listen on; 0: a free one.")
@click.option(
    "--clock",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="Says how far the clock is ahead: eight bytes, milliseconds.",
)
def main(data: Path, port: int, file: Path) -> None:
    """Serve on this machine until stopped, by a clock that is ahead."""
    run_part(WHOLE, Settings(data=data, port=port, synchronous="OFF"), partial(read_clock, file))


if __name__ == "__main__":
    main()
