"""What the image installs and starts, without an engine: as a user who may write to /data and /tmp alone."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import dockerfile
import pytest
from packages import ROOT, build

from piecework import Client
from piecework.http.ports import find_port
from piecework.local import ChildProgram

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may take away rights as an engine does"),
]

IMAGE = ROOT / "deploy" / "containers"
USER = 10001
INSTALLED_MAX_BYTES = 200_000_000
READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'
GRACE_S = {"server": 30.0, "agent": 90.0}
"""What compose.yaml and the manifests give them."""


def read_image() -> list[tuple[str, tuple[str, ...]]]:
    return [(each.cmd.upper(), each.value) for each in dockerfile.parse_file(str(IMAGE / "Dockerfile"))]


def copy_context(folder: Path) -> Path:
    """Copy what an engine would send to the builder: all but what Dockerfile.dockerignore names."""
    lines = (IMAGE / "Dockerfile.dockerignore").read_text().splitlines()
    names = [line.removeprefix("**/") for line in lines if line and not line.startswith("#")]
    return Path(shutil.copytree(ROOT, folder, symlinks=True, ignore=shutil.ignore_patterns(*names)))


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that another user may look into, as pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="piecework-image-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def installed(place: Path) -> Path:
    """The environment that the Dockerfile's own lines install, from a wheel of its own context."""
    context = copy_context(place / "src")
    build(context, place / "wheel")
    python = next(path for path in ("/usr/bin/python3", sys.executable) if is_new(path))
    arguments = dict(word.split("=") for name, words in read_image() if name == "ARG" for word in words)
    [line] = [words[0] for name, words in read_image() if name == "RUN" and "pip --python" in words[0]]
    places = {"/opt/piecework": str(place / "opt"), "/wheel/": f"{place}/wheel/"}
    line = re.sub("|".join(places), lambda found: places[found[0]], line)
    line = line.replace("python -m venv", f"{python} -m venv").replace(" pip ", f" {sys.executable} -m pip ")
    done = subprocess.run(
        ["sh", "-ec", line], cwd=context, env=os.environ | arguments, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(context)
    return place / "opt"


def is_new(python: str) -> bool:
    """Return whether this is a Python that can run the package."""
    test = "import sys; sys.exit(sys.version_info < (3, 11))"
    return Path(python).exists() and subprocess.run([python, "-c", test], check=False).returncode == 0


def run_as_container(installed: Path, data: Path, *words: str, port: int = 0, **settings: str) -> list[str]:
    """Return the command line for what a container runs: with the image's variables, its user, no rights."""
    data.mkdir(exist_ok=True)
    os.chown(data, USER, USER)
    given = [word for name, words in read_image() if name == "ENV" for word in words]
    environ = {
        name: value.replace("/data", str(data)) for name, value in zip(given[::2], given[1::2], strict=True)
    }
    environ |= {"PATH": f"{installed}/bin:/usr/bin:/bin", "PIECEWORK_PORT": str(port), **settings}
    variables = [f"{name}={value}" for name, value in environ.items()]
    rights = [
        "setpriv",
        f"--reuid={USER}",
        f"--regid={USER}",
        "--clear-groups",
        "--no-new-privs",
        "--bounding-set=-all",
    ]
    program = ["unshare", "--mount", "sh", "-c", READ_ONLY, "sh", str(installed), *rights, "env", "-i", *variables]
    return [*program, *words]


def command_of(kind: str) -> list[str]:
    """Return what the image starts by itself, and what compose.yaml starts for an agent."""
    if kind == "server":
        return list(next(words for name, words in reversed(read_image()) if name == "CMD"))
    return ["worker-agent", "run", "--log-format", "json"]


def ask(installed: Path, data: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    line = run_as_container(installed, data, *words, **settings)
    return subprocess.run(line, cwd=data, capture_output=True, text=True, check=False)


def test_what_is_installed_stays_small(installed: Path):
    size = sum(path.lstat().st_size for path in installed.rglob("*"))
    assert 50_000_000 < size < INSTALLED_MAX_BYTES
    assert not list(installed.glob("lib/python*/site-packages/pip"))


def test_a_server_without_a_token_does_not_start(installed: Path, place: Path):
    refused = ask(installed, place / "none", *command_of("server"))
    assert refused.returncode != 0
    assert "token" in refused.stdout + refused.stderr


def test_server_and_agent_work_and_drain_when_told(installed: Path, place: Path):
    data, state = place / "server", place / "agent"
    assert ask(installed, data, "piecework", "server", "migrate").returncode == 0
    tokens = {
        scope: ask(
            installed, data, "piecework", "server", "token", "create", scope, "--scope", scope
        ).stdout.strip()
        for scope in ("worker", "submit")
    }
    port = find_port("127.0.0.1", 0)
    url = f"http://127.0.0.1:{port}"
    server_line = run_as_container(installed, data, *command_of("server"), port=port, PIECEWORK_HOST="127.0.0.1")
    agent_settings = {"PIECEWORK_URL": url, "PIECEWORK_TOKEN": tokens["worker"]}
    agent_line = run_as_container(installed, state, *command_of("agent"), **agent_settings)
    with ChildProgram("the server", server_line, place / "server.log") as server:
        server.wait_for_line(re.compile(rf"listening on {url}|{port}"))
        with (
            ChildProgram("the agent", agent_line, place / "agent.log") as agent,
            Client(url, tokens["submit"]) as client,
        ):
            upper = client.create_lambda(ROOT / "samples" / "uppercase.wasm")
            assert client.run(upper, b"hello", timeout_s=120) == b"HELLO"
            healthy = ask(installed, data, *health(), PIECEWORK_URL=url)
            assert healthy.returncode == 0, healthy.stderr
            slow = client.create_lambda(ROOT / "samples" / "count_slowly.wasm", args=["2", "100"])
            job = client.submit(slow, b"")
            follow = client.follow_log(job)
            next(iter(follow))
            assert agent.stop(GRACE_S["agent"]) == 0
            assert client.result(job, 60) == b"20\n"
        assert server.stop(GRACE_S["server"]) == 0
    assert owner(data) == owner(state) == {USER}
    assert installed.stat().st_uid == 0


def health() -> list[str]:
    """Return the command of the image's health check."""
    words = next(words for name, words in read_image() if name == "HEALTHCHECK")
    return list(words[words.index("CMD") + 1 :])


def owner(folder: Path) -> set[int]:
    return {path.lstat().st_uid for path in folder.rglob("*")}
