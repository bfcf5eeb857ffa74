"""Files in a guest's private folder. No path leads out of it: not by ``..``, not by a link, not by a race."""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from piecework.worker_agent.runtimes.services.errors import DeniedError, ServiceError

FOLDER_BYTES = 64 * 1024 * 1024
FOLDER_FILES = 1000
"""A folder that a guest writes to holds no more than this."""
NAME_BYTES = 200
_ON_THE_WAY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe that somebody put there must not keep the guest waiting.
_TO_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_TO_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def read_file(folder: str, path: bytes, limit_bytes: int) -> bytes:
    """Return a file's bytes. Raises ServiceError."""
    *folders, name = _split(path)
    with _translated(path), _walk(folder, folders) as place:
        descriptor = os.open(name, _TO_READ, dir_fd=place)
        with open(descriptor, "rb") as file:  # noqa: PTH123  # a descriptor has no path
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ServiceError(f"{_show(path)} is not a file")
            data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise ServiceError(f"{_show(path)} has more than {limit_bytes} bytes")
    return data


def write_file(folder: Path, path: bytes, content: bytes) -> None:
    """Put a file there, at once and as a whole, whether one was there or not. Raises ServiceError."""
    *folders, name = _split(path)
    with _translated(path):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_room(folder, len(content))
        with _walk(str(folder), folders) as place:
            part = f".{secrets.token_hex(8)}.part"
            try:
                with open(os.open(part, _TO_WRITE, 0o600, dir_fd=place), "wb") as file:  # noqa: PTH123
                    file.write(content)
                os.replace(part, name, src_dir_fd=place, dst_dir_fd=place)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(part, dir_fd=place)


def _split(path: bytes) -> list[str]:
    """Return the names in a path. Raises ServiceError, DeniedError."""
    try:
        names = [name for name in path.decode().split("/") if name not in {"", "."}]
    except UnicodeDecodeError:
        raise ServiceError("the path is not UTF-8") from None
    if path.startswith(b"/") or ".." in names:
        raise DeniedError(f"{_show(path)} leads out of the folder; paths are relative and have no ..")
    if not names or b"\0" in path or any(len(name.encode()) > NAME_BYTES for name in names):
        raise ServiceError(f"{_show(path)} is no path of a file")
    return names


@contextmanager
def _walk(folder: str, names: list[str]) -> Iterator[int]:
    """Open the folder below ``folder`` step by step, following no link, and yield its descriptor."""
    place = os.open(folder, _ON_THE_WAY)
    try:
        for name in names:
            outer, place = place, os.open(name, _ON_THE_WAY, dir_fd=place)
            os.close(outer)
        yield place
    finally:
        os.close(place)


@contextmanager
def _translated(path: bytes) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # A link, where none is followed.
        if error.errno == errno.ELOOP or (error.errno == errno.ENOTDIR and _has_folder(path)):
            raise DeniedError(f"{_show(path)} goes through something that is no folder") from None
        raise ServiceError(f"{_show(path)}: {error.strerror}") from None


def _has_folder(path: bytes) -> bool:
    return b"/" in path.strip(b"/.")


def _check_room(folder: Path, size: int) -> None:
    count = 0
    for where, _, names in os.walk(folder):
        for name in names:
            count += 1
            with suppress(OSError):
                size += os.lstat(Path(where, name)).st_size
    if size > FOLDER_BYTES or count >= FOLDER_FILES:
        raise ServiceError(f"the folder is full: at most {FOLDER_BYTES} bytes in {FOLDER_FILES} files")


def _show(path: bytes) -> str:
    return repr(path.decode(errors="replace"))
