"""Where a server keeps its data: inputs, outputs and code of everybody who uses it."""

from pathlib import Path

from piecework.server.services import open_services
from piecework.server.settings import Settings


def test_a_new_data_directory_is_for_its_owner_only(tmp_path: Path):
    data = tmp_path / "new"
    open_services(Settings(data=data, synchronous="OFF")).close()
    assert data.stat().st_mode & 0o777 == 0o700
