"""A small disk of its own for the server's data, which can be filled and made empty again."""

import os
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

CHUNK = bytes(1024 * 1024)
AGED_S = 30.0
"""Stored files that are older than this are made to look as old as the server waits before it removes one."""
LONG_AGO_S = 2 * 3600.0


class SmallDisk:
    """A file system in a file, mounted for the server's data; a plain folder where that is not allowed."""

    def __init__(self, place: Path, megabytes: int) -> None:
        """Make and mount it. ``refusal`` says why it could not be mounted, or is empty."""
        self.place = place
        self.refusal = ""
        if place.is_mount():  # of a soak that was killed
            _run("umount", "--lazy", str(place))
        place.mkdir(parents=True, exist_ok=True)
        image = place.with_suffix(".ext4")
        try:
            with image.open("wb") as file:
                file.truncate(megabytes * len(CHUNK))
            _run("mkfs.ext4", "-q", "-F", "-m", "0", str(image))
            _run("mount", "-o", "loop", str(image), str(place))
        except (OSError, subprocess.CalledProcessError) as error:
            said = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
            self.refusal = f"no disk of its own for the server: {said}"
            image.unlink(missing_ok=True)
        place.chmod(0o755)

    def fill(self) -> int:
        """Write until there is no room; return how many bytes that took."""
        with (self.place / "ballast").open("wb", buffering=0) as file:
            for size in (len(CHUNK), 4096):
                with suppress(OSError):
                    while True:
                        file.write(CHUNK[:size])
            return file.tell()

    def relieve(self) -> None:
        """Give the room back."""
        (self.place / "ballast").unlink(missing_ok=True)

    def age_blobs(self) -> int:
        """Make stored blobs look old, so that they go with their jobs; return how many files there are."""
        now, files = time.time(), 0
        for path in self.place.glob("blobs/??/*"):
            with suppress(OSError):
                files += 1
                if now - LONG_AGO_S / 2 < path.stat().st_mtime < now - AGED_S:
                    os.utime(path, (now - LONG_AGO_S, now - LONG_AGO_S))
        return files

    def close(self) -> None:
        """Unmount it; what is on it is gone."""
        if not self.refusal:
            _run("umount", "--lazy", str(self.place))
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.with_suffix(".ext4").unlink(missing_ok=True)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
