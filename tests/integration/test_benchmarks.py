"""The comparison drives Piecework as it does in full size."""

import os
from contextlib import ExitStack
from pathlib import Path

import http_clients
import pytest
from harness.rounds import Sizes, run_rounds
from scaling.fleet import Cadence, Scene

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("name", ["piecework", "piecework-v05"])
def test_a_small_comparison_gives_right_answers_and_figures(tmp_path: Path, name):
    tmp_path.chmod(0o755)
    [run] = run_rounds([name], Sizes(jobs=400, singles=5, cpu_jobs=20, rounds=1), 1000, tmp_path)
    assert "error" not in run, run["error"]
    assert [run[part]["wrong"] for part in ("noop", "latency", "cpu")] == [0, 0, 0]
    assert run["noop"]["jobs_per_s"] > 0
    assert run["noop"]["cpu_us_per_job"]["server"] > 0


def test_our_connections_are_held_against_libraries(tmp_path: Path):
    tmp_path.chmod(0o755)
    sizes = http_clients.Sizes(small=2, blobs=1, alone=1, bulk=2)
    results = {"rounds": http_clients.measure(tmp_path, 1, sizes)}
    assert len(http_clients.exchange_table(results).rows) == 12
    assert len(http_clients.share_table(results).rows) == 4
    assert http_clients.judge(results).count("latency") == 2


@pytest.mark.parametrize(("database", "servers"), [("sqlite", 1), ("postgres", 2)])
def test_a_small_fleet_polls_beats_and_runs_jobs(tmp_path: Path, database, servers):
    with ExitStack() as stack:
        scene = Scene(tmp_path, stack, database, servers)
        found = scene.run(Cadence(20, jobs_per_s=10, job_s=1.0, poll_s=0.4, beat_s=0.2), 1.5)
    assert min(found[f"{act}_per_s"] for act in ("polls", "beats", "jobs")) > 0, found
    assert found["server_cores"] > 0
    assert (found["commits_per_s"] > 0) == (database == "postgres")


def test_a_contestant_that_cannot_run_is_reported(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("harness.backends.importlib.util.find_spec", lambda _name: None)
    monkeypatch.setitem(os.environ, "PATH", "")
    [run] = run_rounds(["celery"], Sizes(rounds=1), 1000, tmp_path)
    assert "apt-get install redis-server" in run["error"]
