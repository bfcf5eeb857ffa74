"""The demo runs to its end, as a newcomer sees it."""

import pydoc_data.topics
import struct
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

PATIENCE_S = 1000
"""Longer than the demo itself waits for each of its steps, so that it says what was missing."""


def test_the_demo_counts_and_draws_and_stops_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # What is set for somebody's server must not lead the demo there.
    monkeypatch.setenv("PIECEWORK_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    command = [sys.executable, "-m", "piecework", "demo"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Python's own count says the same" in done.stdout
    documents = len(pydoc_data.topics.topics)
    assert f"{documents}/{documents}" in done.stdout
    assert "48/48" in done.stdout
    assert "Everything stopped" in done.stdout
    [picture] = tmp_path.iterdir()
    assert picture.name == "piecework-demo.png"
    pixels = picture.read_bytes()
    assert pixels.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", pixels[16:24]) == (1024, 768)


def test_a_picture_that_cannot_be_written_is_told_first(tmp_path: Path):
    command = [sys.executable, "-m", "piecework", "demo", "--picture", "nowhere/a.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "nowhere/a.png cannot be written" in done.stderr
