"""What the documents tell people to type, typed: the first hour, and the programs of the protocol page."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from piecework import Client
from piecework.local import LISTENING, ChildProgram, LocalAgent, LocalServer

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples"
HOUR = "docs/first-hour.md"
BIN = Path(sys.executable).parent
DEFAULT_URL = "http://127.0.0.1:8000"
TIMEOUT_S = 60


def blocks(document: str, mark: str) -> list[str]:
    """Return the code blocks of a document under a mark."""
    return re.findall(rf"<!-- {mark} -->\n```\w+\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)


def program(name: str, folder: Path) -> Path:
    """Write a program of the protocol page to a file."""
    [text] = blocks("docs/protocol.md", f"program: {name}")
    path = folder / f"{name}.py"
    path.write_text(text)
    return path


def run(
    command: list[str], environ: dict[str, str] | None = None, folder: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run a command, in the project's folder unless another is given, however it ends."""
    return subprocess.run(
        command,
        check=False,
        env=environ,
        cwd=folder,
        timeout=TIMEOUT_S,
        capture_output=True,
        text=True,
        errors="surrogateescape",
    )


def test_the_first_hour_goes_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # The commands are typed as they stand. Only where things listen and lie is said from outside.
    monkeypatch.chdir(ROOT)
    environ = os.environ | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PIECEWORK_PORT": "0",
        "PIECEWORK_DATA": os.path.relpath(tmp_path / "data", ROOT),  # relative, as the default is
        "PIECEWORK_WORKER_STATE": str(tmp_path / "agent"),
        "PIECEWORK_WORKER_SLOTS": "1",
    }
    serve, work = blocks(HOUR, "tour: background")
    with ChildProgram("the server", ["bash", "-c", serve], tmp_path / "server.log", environ) as server:
        port = server.wait_for_line(LISTENING)[1]
        environ["PIECEWORK_URL"] = url = f"http://127.0.0.1:{port}"
        with ChildProgram("the agent", ["bash", "-c", work], tmp_path / "agent.log", environ) as agent:
            agent.wait_for_line(re.compile("agent started"))
            ways, bad_guests = blocks(HOUR, "tour")
            check_ways_to_submit(run(["bash", "-eu", "-c", ways], environ))
            check_bad_guests(run(["bash", "-eu", "-c", bad_guests], environ))
            check_python(url)
            check_own_guest(environ, tmp_path)
            job = submit_slow_job(environ)
            agent.kill()
        with ChildProgram("the agent", ["bash", "-c", work], tmp_path / "agent.log", environ) as agent:
            check_slow_job(job, environ)
        assert (agent.exit_code, "agent stopped" in agent.read_log()) == (0, True)
    assert server.exit_code == 0


def test_functions_of_the_first_hour_run_without_a_server(tmp_path: Path):
    environ = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}
    once, serve = blocks(HOUR, "tour: alone")[0].splitlines()
    assert run(["bash", "-c", once], environ).stdout == "🏓 pong: hello : 1\n"
    serve = serve.replace("8080", "0")
    with ChildProgram("the function", ["bash", "-c", f"exec {serve}"], tmp_path / "log", environ) as served:
        url = served.wait_for_line(re.compile(r"serving on (http://\S+)"))[1]
        assert run(["curl", "-s", f"{url}/a"], environ).stdout.startswith("GET\n/a\n")


def check_ways_to_submit(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert all(re.fullmatch(r"[a-z]+ \d+", line) for line in lines[:3]), lines[:3]
    assert lines[3].isdecimal()
    assert lines[4] == "HELLO"
    assert "# PIECEWORK" in lines
    assert {"Enqueued", "Running", "Finished"} <= set(done.stdout.split())
    assert "idle" in lines[-1] or "busy" in lines[-1]


def check_bad_guests(done: subprocess.CompletedProcess[str]) -> None:
    assert done.stdout.splitlines() == ["exit code 1", "exit code 1"]
    assert "failed (timeout)" in done.stderr
    assert "failed (trap)" in done.stderr


def check_own_guest(environ: dict[str, str], folder: Path) -> None:
    [script] = blocks(HOUR, "tour: own")
    done = run(["bash", "-eu", "-c", script], environ, folder)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["HELLO"]), done.stderr


def submit_slow_job(environ: dict[str, str]) -> str:
    """Submit the job that counts, and return its id once it does."""
    [script] = blocks(HOUR, "tour: slow")
    done = run(["bash", "-eu", "-c", script], environ)
    assert done.returncode == 0, done.stderr
    job = done.stdout.split()[-1]
    with Client(environ["PIECEWORK_URL"]) as client:
        next(client.follow_log(int(job)))
    return job


def check_slow_job(job: str, environ: dict[str, str]) -> None:
    [script] = blocks(HOUR, "tour: after")
    done = run(["bash", "-eu", "-c", script], environ | {"JOB": job})
    assert done.returncode == 0, done.stderr
    assert "Finished" in done.stdout
    assert done.stdout.count("Running") == 2


def check_python(url: str) -> None:
    [script] = blocks(HOUR, "tour: python")
    assert DEFAULT_URL in script
    done = run([sys.executable, "-c", script.replace(DEFAULT_URL, url)])
    assert done.returncode == 0, done.stderr
    finished = re.findall(r"^docs/[\w-]+\.md: \d{2,} different words$", done.stdout, re.MULTILINE)
    assert len(finished) == len(list((ROOT / "docs").glob("*.md")))


def test_the_requester_of_the_protocol_page_works(server: LocalServer, agent: LocalAgent, tmp_path: Path):
    guest, given = SAMPLES / "uppercase.wasm", tmp_path / "input"
    given.write_bytes(b"shout \xff\n")
    done = run([sys.executable, str(program("requester", tmp_path)), server.url, str(guest), str(given)])
    assert (done.returncode, done.stdout) == (0, "SHOUT \udcff\n"), done.stderr
    assert agent.exit_code is None


@pytest.mark.parametrize("name", ["worker-v05", "worker"])
def test_the_workers_of_the_protocol_page_work(tmp_path: Path, name: str):
    # Each has a server of its own: the open poll of a worker that was just stopped would be given the next job.
    with LocalServer(tmp_path) as server, Client(server.url) as client:
        command = [sys.executable, str(program(name, tmp_path)), server.url]
        with ChildProgram(name, command, tmp_path / "log") as worker:
            texts = [f"hello {number}" for number in range(5)] + ["long " * 10_000]
            jobs = client.submit_many(client.create_lambda(0, "shout"), texts)
            outputs = {job: result.read().decode() for job, result in client.results(jobs, timeout_s=TIMEOUT_S)}
            assert [outputs[job] for job in jobs] == [text.upper() for text in texts]
            assert worker.exit_code is None, worker.read_log()
