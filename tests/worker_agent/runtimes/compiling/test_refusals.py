"""What is remembered of code that could not be compiled, and what is not."""

import os
import signal
import subprocess
import sys
import time

import pytest

from piecework.worker_agent.runtimes.base import LoadError
from piecework.worker_agent.runtimes.compiling.refusals import GAVE_UP, KEPT_S, Refusal

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from piecework.worker_agent.runtimes.compiling.refusals import Refusal

computed_s = iter([5.0, 5.0 + float(sys.argv[3])])
with Refusal(Path(sys.argv[1]), float(sys.argv[2]), process_time=computed_s.__next__).trying():
    {block}
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "code.refused"


@pytest.fixture
def attempt(path):
    """Return a function that has another process try, and returns that process's end and the refusal after it."""

    def run(block, patience_s=60.0, computes_s=0.0):
        program = [sys.executable, "-c", PROGRAM.format(block=block), str(path), str(patience_s), str(computes_s)]
        ended = subprocess.run(program, check=False, timeout=30, stderr=subprocess.DEVNULL)
        return ended.returncode, Refusal(path, patience_s)

    return run


@pytest.fixture
def fail(path):
    """Return a function that tries for so long, and then raises an error."""

    def run(seconds, error):
        with Refusal(path, 60.0, monotonic=iter([5.0, 5.0 + seconds]).__next__).trying():
            raise error

    return run


def test_code_that_was_never_tried_is_not_refused(path):
    Refusal(path, 60.0).check()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("signal_name", "reason"),
    [
        ("SIGABRT", "the module takes more memory to compile than a node has for that"),
        ("SIGSEGV", "the compiler broke down at the module: Segmentation fault"),
    ],
)
def test_native_fault_is_remembered(attempt, signal_name, reason):
    end, refusal = attempt(f"os.kill(os.getpid(), signal.{signal_name})")
    assert end == -getattr(signal, signal_name)
    with pytest.raises(LoadError, match=f"^{reason}.*tries again after a day"):
        refusal.check()


@pytest.mark.integration
def test_code_that_keeps_the_compiler_too_long_is_remembered(attempt):
    end, refusal = attempt("time.sleep(60)", patience_s=0.25, computes_s=0.125)
    assert end == GAVE_UP
    with pytest.raises(LoadError, match=r"not compiled within 0\.25 s"):
        refusal.check()


@pytest.mark.integration
def test_time_that_others_took_is_not_blamed_on_the_code(attempt):
    end, refusal = attempt("time.sleep(60)", patience_s=0.25, computes_s=0.12)
    assert end == GAVE_UP
    refusal.check()


@pytest.mark.integration
def test_kill_from_outside_is_not_blamed_on_the_code(attempt):
    end, refusal = attempt("os.kill(os.getpid(), signal.SIGKILL)")
    assert end == -signal.SIGKILL
    refusal.check()


@pytest.mark.integration
def test_success_forgets(attempt, path):
    attempt("os.abort()")
    with Refusal(path, 60.0).trying():
        assert path.read_bytes() == b""
    assert not path.exists()


def test_error_that_took_long_to_find_is_remembered(path, fail):
    error = LoadError("the module is not valid: at its very end")
    with pytest.raises(LoadError):
        fail(2, error)
    with pytest.raises(LoadError, match=r"at its very end.*knows that"):
        Refusal(path, 60.0).check()


@pytest.mark.parametrize(
    ("took_s", "error"),
    [
        (0.5, LoadError("the module is not valid")),
        (2, LoadError("the module is not valid: Cannot allocate memory (os error 12)")),
        (2, OSError("the disk is full")),
    ],
    ids=["found at once", "the node's", "a full disk"],
)
def test_other_error_is_not_remembered(path, fail, took_s, error):
    with pytest.raises(type(error)):
        fail(took_s, error)
    Refusal(path, 60.0).check()
    assert not path.exists()


@pytest.mark.integration
def test_refusal_is_forgotten_after_a_day(attempt, path):
    _, refusal = attempt("os.abort()")
    long_ago = time.time() - KEPT_S - 1
    os.utime(path, (long_ago, long_ago))
    refusal.check()
