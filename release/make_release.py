"""Make a release: ``make release`` runs it. See docs/releases.md.

Builds the packages of the commit that is checked out, installs the wheel with the pinned versions under each
Python that is here, and runs the demo there. ``dist`` is replaced at the end, when all went well: by the packages,
constraints.txt, a list of what is installed (CycloneDX), and SHA256SUMS.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
PYTHONS = tuple(f"python3.{minor}" for minor in range(11, 15))
SUMS = "SHA256SUMS"


class ReleaseRefused(Exception):
    """There can be no release; the message says why."""


def main() -> int:
    """Make the release. Returns 1 when it is refused or a step of it fails."""
    try:
        check_tree()
        DIST.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="piecework-release-") as folder:
            made = Path(folder, "dist")
            make(made, Path(folder))
            shutil.rmtree(DIST, ignore_errors=True)
            shutil.copytree(made, DIST)
    except ReleaseRefused as error:
        print(f"No release: {error}.", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        words = " ".join(map(str, error.cmd))
        print(f"No release: {words} ended with {error.returncode}:\n{error.stdout}{error.stderr}", file=sys.stderr)
        return 1
    for path in sorted(DIST.iterdir()):
        print(f"{path.stat().st_size:9,d}  dist/{path.name}")
    return 0


def check_tree() -> None:
    """Raise ReleaseRefused unless all is committed, and the version was not released from another commit."""
    if changed := run("git", "status", "--porcelain"):
        raise ReleaseRefused(f"these files are not committed:\n{changed}")
    tag, head = f"v{read_version()}", run("git", "rev-parse", "HEAD")
    if run("git", "tag", "--list", tag) and run("git", "rev-list", "-n", "1", tag) != head:
        raise ReleaseRefused(f"{tag} is another commit: raise __version__ in piecework/__init__.py")


def make(dist: Path, scratch: Path) -> None:
    """Write all files of the release into a folder."""
    with telling("Building sdist and wheel"):
        run(sys.executable, "-m", "build", "--outdir", dist, ROOT)
    [wheel] = dist.glob("*.whl")
    shutil.copy(ROOT / "constraints.txt", dist)
    for python in find_pythons():
        environment = scratch / Path(python).name
        try_wheel(wheel, python, environment)
    with telling("Listing what is installed"):
        list_installed(environment, dist / f"piecework-{read_version()}.cdx.json")
    write_sums(dist)


def find_pythons() -> list[str]:
    """Return the first of each version in PATH that runs: a launcher may be there without its Python."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    found = {}
    for name in PYTHONS:
        for path in (path for folder in folders if (path := shutil.which(name, path=folder))):
            if subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0:
                found.setdefault(name, path)
    return list(found.values()) or [sys.executable]


def try_wheel(wheel: Path, python: str, environment: Path) -> None:
    """Install the wheel into a new environment, and run what is installed in a folder of its own."""
    program = environment / "bin" / "piecework"
    name = Path(python).name
    with telling(f"Installing with {name}"):
        run(python, "-m", "venv", "--without-pip", environment)
        pip = (sys.executable, "-m", "pip", "--python", environment, "--disable-pip-version-check", "--quiet")
        run(*pip, "install", "--constraint", wheel.parent / "constraints.txt", f"{wheel}[all]")
    with telling(f"Running the demo with {name}"):
        if (said := run(program, "--version", cwd=environment)) != f"piecework, version {read_version()}":
            raise ReleaseRefused(f"'piecework --version' says {said!r} under {name}")
        run(program, "demo", cwd=environment)


def list_installed(environment: Path, target: Path) -> None:
    """Write the list of all distributions of an environment (CycloneDX, JSON), without paths of this machine."""
    lister = Path(sys.executable).with_name("cyclonedx-py")
    run(lister, "environment", "--output-reproducible", "--output-file", target, environment)
    listed = json.loads(target.read_text())
    for component in listed["components"]:
        references = component.get("externalReferences", [])
        component["externalReferences"] = [each for each in references if not each["url"].startswith("file:")]
    target.write_text(json.dumps(listed, indent=2, sort_keys=True) + "\n")


def write_sums(dist: Path) -> None:
    """Write the SHA-256 of each file, as ``sha256sum --check`` reads it."""
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(dist.iterdir())]
    (dist / SUMS).write_text("".join(lines))


def read_version() -> str:
    """Return the version, from the one place where it is."""
    found = re.search(r'^__version__ = "(.+)"$', (ROOT / "piecework/__init__.py").read_text(), re.MULTILINE)
    assert found
    return found[1]


def run(*words: str | Path, cwd: Path = ROOT) -> str:
    """Run a program, without what is set for Python or Piecework here, and return what it printed."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIECEWORK_"))}
    done = subprocess.run(words, cwd=cwd, env=environ, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@contextmanager
def telling(what: str) -> Iterator[None]:
    """Say what is done, and how long it took."""
    began = time.monotonic()
    print(f"{what} ...", end=" ", flush=True)
    yield
    print(f"{time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
