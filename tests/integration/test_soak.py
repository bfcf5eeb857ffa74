"""A soak of half a minute: it passes when all is well, and sees what is planted."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from soak import Sizes, run
from soaking.world import Plan

from piecework.protocol.states import JobState

pytestmark = pytest.mark.integration

LEAK = """
import sys, threading
def leak(kept=[]):
    while True:
        kept.append(bytearray(2_000_000))
        threading.Event().wait(0.1)
if "worker" in sys.orig_argv:
    threading.Thread(target=leak, daemon=True).start()
"""
BRIEF = {"pause_s": 0.3, "sample_s": 0.4}


def lose_a_job(soak):
    """Have a job that was acknowledged vanish from the server's database."""
    job = soak.client.submit("upper", b"lost", status="paused")
    soak.ledger.expect([job], JobState.FINISHED)
    with closing(sqlite3.connect(soak.world.disk.place / "piecework.db")) as database, database:
        assert database.execute("DELETE FROM jobs WHERE id = ?", (int(job),)).rowcount == 1


def test_a_short_soak_with_faults_is_passed(tmp_path: Path):
    verdict, figures = run(Plan(tmp_path / "run"), Sizes(18, seed=4, **BRIEF), tmp_path, threading.Event())
    assert verdict.faults == []
    assert "server" in figures["faults"]
    assert {trend.series for trend in verdict.trends} >= {"server_mb", "agent-1_mb", "agent-1_guests_mb"}
    assert "</svg>" in (tmp_path / "soak.svg").read_text()


def test_what_leaks_and_what_is_lost_is_told(tmp_path: Path):
    (tmp_path / "sitecustomize.py").write_text(LEAK)
    plan = Plan(tmp_path / "run", environ={"agent-1": {"PYTHONPATH": str(tmp_path)}})
    sizes = Sizes(8, settle_s=1.0, is_calm=True, **BRIEF)
    verdict, _ = run(plan, sizes, tmp_path, threading.Event(), lose_a_job)
    told = " ".join(verdict.faults)
    assert "agent-1_mb grows" in told
    assert "1 acknowledged jobs have no outcome" in told
    assert len(verdict.faults) == 2, verdict.faults
