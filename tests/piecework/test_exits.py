"""What a command ends with whose guest ended itself."""

import pytest

from piecework.terminal.exits import exit_status


@pytest.mark.parametrize(
    ("code", "status"), [(0, 0), (1, 1), (20, 20), (255, 255), (256, 1), (512, 1), (300, 44), (2**32 - 1, 255)]
)
def test_exit_status_is_never_success_for_a_failure(code, status):
    assert exit_status(code) == status
