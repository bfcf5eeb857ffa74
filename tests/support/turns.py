"""One of the processes of ``side_by_side``: ``python turns.py FOLDER NUMBER [options of pytest]``.

The folder has the list of the files, as ``files.json``, and gets a file for each that is taken. A process stays in
a folder of tests while there are some left: what their first one had to import, compile and open is there.
"""

import json
import signal
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, pairwise
from pathlib import Path

import pytest
from _pytest.runner import collect_one_node

FILES, TAKEN, TIMES = "files.json", "taken", "times-{}.json"
UNUSED = ("cacheprovider", "hypothesispytest", "logging", "platformdirs", "pytest_cov", "valkey")
"""Plugins that would take time."""


def find_folder(file: str) -> str:
    return file.rpartition("/")[0]


def choose(files: dict[str, float], taken: set[str], folder: str) -> str | None:
    """Return the file to take next: the longest of the folder at hand, else of the one with most left to do.

    Folders where nobody is come first. ``files`` has their seconds, the longest first; None: none is left.
    """
    left: Counter[str] = Counter()
    longest: dict[str, str] = {}
    for file, seconds in files.items():
        if file not in taken:
            left[find_folder(file)] += seconds
            longest.setdefault(find_folder(file), file)
    if folder in longest:
        return longest[folder]
    begun = {find_folder(file) for file in taken}
    return longest[max(left, key=lambda each: (each not in begun, left[each]))] if left else None


class Turns:
    """A plugin of pytest that takes the next file when it is done with one, and collects only that."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._taken = folder / TAKEN
        self._at = ""
        """The folder of tests where this is."""
        self._files: dict[str, float] = {}
        self._modules: dict[str, pytest.Item | pytest.Collector] = {}
        self.seconds: Counter[str] = Counter()
        """What the tests of each file took."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> bool:
        """Find the files, and look into none of them yet."""
        files: dict[str, float] = json.loads((self._folder / FILES).read_text())
        option = session.config.option
        asked = option.markexpr, option.keyword
        option.markexpr = option.keyword = ""  # what a file has for them is not known yet
        # By folders: of each file that is named, pytest would go through the whole folder again. Those of the
        # folder of all are named: a folder that is named itself would be without the fixtures of its conftest.py.
        named = sorted({str(Path(*Path(file).parts[:2])) for file in files})
        folders = session.perform_collect(named, genitems=False)
        option.markexpr, option.keyword = asked
        found = {str(each.path): each for each in _find_files(folders)}
        paths = {file: str(session.startpath / file) for file in files}
        self._modules = {file: found[path] for file, path in paths.items() if path in found}
        self._files = {file: files[file] for file in self._modules}  # all but those of a broken conftest.py
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        count = 0
        for item, following in pairwise(chain(self._take(session), [None])):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            count += 1
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
        session.testscollected = count
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.location[0]] += report.duration

    def _take(self, session: pytest.Session) -> Iterator[pytest.Item]:
        hook = session.config.hook
        while file := self._take_file():
            items = list(session.genitems(self._modules[file]))
            hook.pytest_collection_modifyitems(session=session, config=session.config, items=items)
            hook.pytest_collection_finish(session=session)
            yield from items

    def _take_file(self) -> str | None:
        while file := choose(
            self._files, {each.name.replace("+", "/") for each in self._taken.iterdir()}, self._at
        ):
            try:
                (self._taken / file.replace("/", "+")).open("x").close()
            except FileExistsError:
                continue
            self._at = find_folder(file)
            return file
        return None


def _find_files(nodes: Iterable[pytest.Item | pytest.Collector]) -> Iterator[pytest.Item | pytest.Collector]:
    for node in nodes:
        if isinstance(node, pytest.Directory):
            report = collect_one_node(node)
            node.ihook.pytest_collectreport(report=report)
            yield from _find_files(report.result)
        else:
            yield node


def main(folder: Path, number: str, options: list[str]) -> int:
    """Take turns until no file is left; return pytest's exit code."""
    sys.path[0] = str(Path.cwd())  # as `python -m pytest` has it
    turns = Turns(folder)
    code = pytest.main([*(f"-pno:{name}" for name in UNUSED), *options], plugins=[turns])
    (folder / TIMES.format(number)).write_text(json.dumps(turns.seconds))
    return code


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # fixtures end what they began
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
