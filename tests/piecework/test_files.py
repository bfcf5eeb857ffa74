import errno
from pathlib import Path

import pytest

from piecework.files import naming


def test_a_full_disk_is_told_with_the_name_of_the_file():
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"), naming(Path("/dev/full")) as path:
        path.write_bytes(b"x")


def test_an_error_that_has_a_name_keeps_it(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, naming(Path("other")):
        (tmp_path / "none" / "file").write_bytes(b"x")
    assert caught.value.filename == str(tmp_path / "none" / "file")


def test_an_error_that_is_none_of_the_system_stays_as_it_is():
    error = TimeoutError("the time to wait was over")
    with pytest.raises(TimeoutError) as caught, naming(Path("x")):
        raise error
    assert caught.value is error
    assert error.errno is None


def test_the_kind_of_error_follows_its_number():
    with pytest.raises(BrokenPipeError, match="x"), naming(Path("x")):
        raise OSError(errno.EPIPE, "gone")
