"""The project's packages, built for tests in copies of its files."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
EPOCH = "1700000000"
"""The second that all files of what tests build have."""
_BUILD = "import sys, backend; to = sys.argv[1]; backend.build_sdist(to); backend.build_wheel(to)"


def read_backend() -> dict[str, Any]:
    """Return what the build backend of the project defines."""
    return runpy.run_path(str(ROOT / "release" / "backend.py"))


def copy_project(folder: Path) -> Path:
    """Copy the files that belong to the project into a new folder, links as links, and return it."""
    for name in read_backend()["find_sources"]():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    return folder


def build(project: Path, target: Path, *, epoch: str | None = EPOCH, umask: int = 0o022) -> Path:
    """Build sdist and wheel of a copy into a new folder, and return it. Raises CalledProcessError."""
    target.mkdir()
    environ = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _BUILD, target],
        cwd=project,
        env=environ | {"PYTHONPATH": str(project / "release")} | ({"SOURCE_DATE_EPOCH": epoch} if epoch else {}),
        umask=umask,
        check=True,
        capture_output=True,
    )
    return target
