"""Files that a command or the client writes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def naming(path: Path) -> Iterator[Path]:
    """Have what goes wrong in the block name the file: a full disk, say, is told without one."""
    try:
        yield path
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
