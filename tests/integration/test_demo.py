"""The demo runs to its end, as a newcomer sees it."""

import pydoc_data.topics
import struct
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

DEMO = Path(__file__).parents[2] / "demo"
PATIENCE_S = 1000
"""Longer than the demo itself waits for each of its steps, so that it says what was missing."""


def test_the_demo_counts_and_draws_and_stops_everything():
    done = subprocess.run(
        [sys.executable, DEMO / "run.py"], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Python's own count says the same" in done.stdout
    documents = len(pydoc_data.topics.topics)
    assert f"{documents}/{documents}" in done.stdout
    assert "48/48" in done.stdout
    assert "Everything stopped" in done.stdout
    picture = (DEMO / "picture.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", picture[16:24]) == (1024, 768)
