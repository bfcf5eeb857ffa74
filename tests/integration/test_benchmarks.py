"""The comparison drives Piecework as it does in full size."""

import os
from pathlib import Path

import http_clients
import pytest
from harness.rounds import Sizes, run_rounds

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("name", ["piecework", "piecework-v05"])
def test_a_small_comparison_gives_right_answers_and_figures(tmp_path: Path, name):
    tmp_path.chmod(0o755)
    [run] = run_rounds([name], Sizes(jobs=60, singles=5, cpu_jobs=20, rounds=1), 1000, tmp_path)
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


def test_a_contestant_that_cannot_run_is_reported(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("harness.backends.importlib.util.find_spec", lambda _name: None)
    monkeypatch.setitem(os.environ, "PATH", "")
    [run] = run_rounds(["celery"], Sizes(rounds=1), 1000, tmp_path)
    assert "apt-get install redis-server" in run["error"]
