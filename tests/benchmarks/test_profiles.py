"""From py-spy's stacks to shares of the time."""

from pathlib import Path

import pytest
from harness.profiles import read_shares

STACKS = """process 1:"python";main (server/run.py:10);work (server/work.py:1) 30
process 1:"python";main (server/run.py:10);work (server/work.py:2) 30
process 1:"python";main (server/run.py:12) 40
process 1:"python" 500
"""


def test_lines_of_a_function_count_together_and_samples_outside_of_python_do_not(tmp_path: Path):
    stacks = tmp_path / "stacks.txt"
    stacks.write_text(STACKS)
    shares = {share.function: (share.own, share.total) for share in read_shares(stacks)}
    assert shares["main (server/run.py)"] == pytest.approx((0.4, 1.0))
    assert shares["work (server/work.py)"] == pytest.approx((0.6, 0.6))
    assert len(shares) == 2
