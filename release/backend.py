"""How the package is built (PEP 517): by setuptools, and so that the same commit gives the same bytes anywhere.

A source distribution has the files that git knows, links as links. A wheel is built from just these files, in a
folder of its own, so that nothing else of a checkout gets in: no file that was removed long ago, no mode, no date.
"""

import gzip
import io
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import chdir
from email.parser import HeaderParser
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

ROOT = Path(__file__).parents[1]
METADATA = "PKG-INFO"
"""Only a source distribution has it. Its date is that of the commit."""
NOT_SOURCES = (".git", ".venv", "*_cache", "__pycache__", "*.egg-info", "build", "dist", "node_modules", "*.pyc")
"""What is passed by where git cannot be asked."""
EPOCH = "SOURCE_DATE_EPOCH"
EXECUTABLE = 0o100


def build_sdist(sdist_directory: str, config_settings: dict[str, Any] | None = None) -> str:
    """Write the source distribution into a folder and return its name."""
    metadata = read_metadata(config_settings)
    fields = HeaderParser().parsestr(metadata.decode())
    stem, epoch = f"{fields['Name']}-{fields['Version']}", find_epoch()
    target = Path(sdist_directory) / f"{stem}.tar.gz"
    with (
        target.open("wb") as file,
        gzip.GzipFile("", "wb", 9, file, epoch) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name in sorted({*find_sources(), METADATA}):
            content = metadata if name == METADATA else None
            add_file(archive, ROOT / name, f"{stem}/{name}", epoch, content)
    return target.name


def build_wheel(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """Write the wheel into a folder and return its name."""
    del metadata_directory  # is made anew beside the files
    target = str(Path(wheel_directory).absolute())
    os.environ[EPOCH] = str(find_epoch())
    umask = os.umask(0o022)  # modes of what setuptools makes are in the wheel
    try:
        with tempfile.TemporaryDirectory() as folder:
            sdist = build_sdist(folder, config_settings)
            with tarfile.open(Path(folder, sdist)) as archive:
                archive.extractall(folder, filter="data")
            with chdir(Path(folder, sdist.removesuffix(".tar.gz"))):
                return build_meta.build_wheel(target, config_settings)
    finally:
        os.umask(umask)


def find_sources() -> Iterator[str]:
    """Yield the files and links of the project below ROOT: those that git knows; all where it cannot be asked."""
    known = ask_git("ls-files", "-z")
    if known is not None:
        yield from (name for name in known.split("\0") if name and os.path.lexists(ROOT / name))
        return
    for folder, subfolders, files in os.walk(ROOT):
        here = Path(folder).relative_to(ROOT)
        links = [name for name in subfolders if Path(folder, name).is_symlink()]
        yield from ((here / name).as_posix() for name in (*files, *links) if is_source(name))
        subfolders[:] = [name for name in subfolders if name not in links and is_source(name)]


def is_source(name: str) -> bool:
    return not any(fnmatch(name, pattern) for pattern in NOT_SOURCES)


def find_epoch() -> int:
    """Return the second that all files are dated with: SOURCE_DATE_EPOCH, or else the time of the last commit."""
    if given := os.environ.get(EPOCH):
        return int(given)
    if committed := ask_git("log", "-1", "--format=%ct"):
        return int(committed)
    metadata = ROOT / METADATA
    return int((metadata if metadata.exists() else ROOT / "pyproject.toml").stat().st_mtime)


def ask_git(*words: str) -> str | None:
    """Return what git says of this checkout; None where there is no git, no checkout, or one of somebody else."""
    if not (ROOT / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip("\n")


def read_metadata(config_settings: dict[str, Any] | None) -> bytes:
    """Return what the package tells of itself."""
    with tempfile.TemporaryDirectory() as folder, chdir(ROOT):
        name = prepare_metadata_for_build_wheel(folder, config_settings)
        return Path(folder, name, "METADATA").read_bytes()


def add_file(archive: tarfile.TarFile, path: Path, name: str, epoch: int, content: bytes | None) -> None:
    """Add a file or a link, with nothing of the machine that it is on."""
    entry = tarfile.TarInfo(name)
    entry.mtime = epoch
    if path.is_symlink():
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, str(path.readlink()), 0o777
        archive.addfile(entry)
        return
    data = path.read_bytes() if content is None else content
    entry.size = len(data)
    entry.mode = 0o755 if content is None and path.stat().st_mode & EXECUTABLE else 0o644
    archive.addfile(entry, io.BytesIO(data))
