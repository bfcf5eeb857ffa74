"""Which folders are on disks of other machines."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from piecework.server.cli import starting
from piecework.server.disks import MOUNTS, find_network_disk
from piecework.server.settings import Settings

LINES = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:30 / {folder} rw - nfs4 host:/export rw
31 30 0:31 / {folder}/local rw shared:5 master:2 - tmpfs tmpfs rw
32 22 0:32 / {folder}/with\040space rw - 9p drvfs rw
33 22 0:33 / {folder}/hidden rw - cifs //host/share rw
34 33 0:34 / {folder}/hidden rw - xfs /dev/vdb rw
"""


@pytest.mark.parametrize(
    ("below", "kind"),
    [
        ("data", "nfs4"),
        (".", "nfs4"),
        ("local/data", None),
        ("local/../data", "nfs4"),
        ("with space/data", "9p"),
        ("hidden", None),
        ("../elsewhere", None),
    ],
)
def test_folders_of_other_machines_are_found(tmp_path: Path, below: str, kind: str | None):
    (tmp_path / "mounts").write_text(LINES.replace("{folder}", str(tmp_path / "far")).strip())
    assert find_network_disk(tmp_path / "far" / below, tmp_path / "mounts") == kind


def test_a_system_that_does_not_tell_has_none(tmp_path: Path):
    assert find_network_disk(tmp_path, tmp_path / "missing") is None


@pytest.mark.skipif(not MOUNTS.exists(), reason="Linux tells")
def test_the_root_of_this_machine_is_its_own():
    assert find_network_disk(Path("/proc")) is None


@pytest.mark.parametrize(
    ("kind", "url", "warnings"),
    [("nfs4", None, 1), ("nfs4", "postgresql://h/d", 0), (None, None, 0)],
)
def test_sqlite_on_such_a_disk_is_warned_of(tmp_path: Path, monkeypatch, kind, url, warnings):
    monkeypatch.setattr(starting, "find_network_disk", lambda folder: kind)
    with capture_logs() as logged:
        starting._look_at_disk(Settings(data=tmp_path, database_url=url))
    assert len(logged) == warnings
    assert all("(nfs4)" in each["event"] for each in logged)
