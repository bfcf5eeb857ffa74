"""The pytest plugin, in a pytest of its own."""

import subprocess
import sys
import tomllib
from importlib.metadata import entry_points

import pytest
from loading import loaded_by

pytestmark = pytest.mark.integration

PLUGIN = "piecework.testing.plugin"
IN_A_TEST_OF_A_USER = """
import pytest

import piecework


@piecework.function(runtime="micropython")
def double(number):
    return number * 2


def test_jobs_run(piecework_client, piecework_agent):
    assert double.using(piecework_client).remote(21) == 42


def test_the_server_is_the_same_for_all(piecework_server, piecework_client):
    assert piecework_client.url == piecework_server.url
    assert piecework_client.ping() == "pong"
    assert list(piecework_client.lambdas(name="double"))


def test_time_goes_on_when_it_is_told_to(piecework_client, piecework_agent, piecework_clock):
    lambda_ = piecework_client.create_lambda(b"print('late')", "micropython")
    job = piecework_client.submit(lambda_, delay_s=3600)
    assert job.status() is not None
    with pytest.raises(piecework.StillRunning):
        job.result(timeout_s=0)
    piecework_clock.forward(3601)
    assert job.result(timeout_s=60) == b"late\\n"
    assert piecework_clock.ahead_s == 3601
    with pytest.raises(ValueError, match="forward only"):
        piecework_clock.forward(-1)


def test_a_guest_runs_without_a_server(run_guest, tmp_path):
    script = tmp_path / "echo.py"
    script.write_text("import sys; print(sys.stdin.read().upper(), sys.argv[1:]); sys.exit(3)")
    ran = run_guest(script, "hi", args=["--one"], runtime="micropython")
    assert (ran.exit_code, ran.output) == (3, b"HI ['--one']\\n")
    with pytest.raises(AssertionError, match="exit code 3"):
        ran.check()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        run_guest(tmp_path / "nowhere.wasm")
"""


def run_pytest(folder, *options):
    plugin = [] if any(each.value == PLUGIN for each in entry_points(group="pytest11")) else ["-p", PLUGIN]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_users_test_against_a_real_server_and_agent(tmp_path):
    (tmp_path / "test_theirs.py").write_text(IN_A_TEST_OF_A_USER)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    ran = run_pytest(tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "4 passed" in ran.stdout


def test_the_fixtures_are_listed_with_what_they_are(tmp_path):
    ran = run_pytest(tmp_path, "--fixtures")
    for name in ("piecework_server", "piecework_agent", "piecework_client", "piecework_clock", "run_guest"):
        assert name in ran.stdout


def test_nothing_is_loaded_for_who_uses_none_of_it():
    loaded = loaded_by(PLUGIN)
    ours = {name for name in loaded if name.startswith(("piecework", "server", "worker_agent"))}
    assert ours == {"piecework", "piecework.testing", "piecework.testing.plugin"}
    assert not loaded & {"msgspec", "httptools", "click", "flask"}


def test_pytest_finds_it_where_the_package_is_installed(pytestconfig):
    project = tomllib.loads((pytestconfig.rootpath / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"piecework": PLUGIN}
