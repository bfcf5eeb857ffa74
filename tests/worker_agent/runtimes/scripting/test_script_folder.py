"""The directory / of a script: its own file, and what was granted there."""

import pytest

from piecework.protocol.messages import Grants
from piecework.worker_agent.runtimes.base import Bounds
from piecework.worker_agent.runtimes.services.access import NodeRules, Permissions
from piecework.worker_agent.runtimes.wasi.errno import Errno, WasiError
from piecework.worker_agent.runtimes.wasi.fs.directories import open_granted
from piecework.worker_agent.runtimes.wasi.fs.files import OpenMode
from piecework.worker_agent.runtimes.wasi.fs.script_folder import ScriptFolder

READ = OpenMode(
    read=True, write=False, create=False, exclusive=False, truncate=False, directory=False, follow=True, flags=0
)
CREATE = READ._replace(write=True, create=True)


@pytest.fixture
def own(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "given.txt").write_bytes(b"given")
    return folder


@pytest.fixture
def root(own):
    script = ScriptFolder({b"script.py": b"print()"}, bytes)
    [granted] = open_granted(
        Permissions.of(
            Grants(files="write"), NodeRules(folder=str(own), shares_folder=True), "owner"
        ).find_folders(),
        Bounds(),
        lambda _: None,
    )
    assert granted.granted_as == script.granted_as
    script.show(granted)
    yield script
    script.close()


def read(root, path):
    file = root.open(path, READ)
    buffer = bytearray(100)
    count = file.read_into(memoryview(buffer))
    file.close()
    return bytes(buffer[:count])


def test_script_and_granted_files_are_in_one_directory(root):
    assert (read(root, b"script.py"), read(root, b"given.txt")) == (b"print()", b"given")
    assert {each.name for each in root.list_entries(anew=True)} == {b".", b"..", b"script.py", b"given.txt"}
    assert root.stat_path(b"./script.py", follow=True)[3] == 7
    assert root.stat_path(b"given.txt", follow=True)[3] == 5


def test_granted_directory_is_changed_and_the_script_is_not(root, own):
    root.open(b"made.txt", CREATE).close()
    root.rename(b"made.txt", root, b"moved.txt")
    root.make_directory(b"deep")
    root.remove_file(b"given.txt")
    assert sorted(each.name for each in own.iterdir()) == ["deep", "moved.txt"]
    for change in (
        lambda: root.open(b"script.py", CREATE),
        lambda: root.remove_file(b"script.py"),
        lambda: root.rename(b"moved.txt", root, b"script.py"),
        lambda: root.rename(b"script.py", root, b"moved.txt"),
    ):
        with pytest.raises(WasiError) as raised:
            change()
        assert raised.value.errno is Errno.ROFS


def test_script_hides_a_granted_file_of_its_name(root, own):
    (own / "script.py").write_bytes(b"another")
    assert read(root, b"script.py") == b"print()"
    assert [each.name for each in root.list_entries(anew=True)].count(b"script.py") == 1


def test_script_alone_has_no_other_files():
    script = ScriptFolder({b"script.py": b"print()"}, bytes)
    with pytest.raises(WasiError) as raised:
        script.open(b"given.txt", READ)
    assert raised.value.errno is Errno.NOENT
    with pytest.raises(WasiError) as raised:
        script.make_directory(b"deep")
    assert raised.value.errno is Errno.ROFS
    script.close()
