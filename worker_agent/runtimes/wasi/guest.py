"""One running guest: what its calls to the host act on."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from os import fsencode
from typing import Self

from piecework.worker_agent.runtimes.base import NO_ACCESS, Bounds, Call
from piecework.worker_agent.runtimes.services.access import INPUTS
from piecework.worker_agent.runtimes.stopping import StopSignal
from piecework.worker_agent.runtimes.wasi.clocks import Clock, RandomSource, choose_clock, choose_random
from piecework.worker_agent.runtimes.wasi.errno import Errno, WasiError
from piecework.worker_agent.runtimes.wasi.fs.devices import DeviceDirectory
from piecework.worker_agent.runtimes.wasi.fs.directories import GuestDirectory
from piecework.worker_agent.runtimes.wasi.fs.files import FileType, GuestFile, InputFile, OutputFile
from piecework.worker_agent.runtimes.wasi.fs.journaled_files import open_directories
from piecework.worker_agent.runtimes.wasi.fs.script_folder import ScriptFolder
from piecework.worker_agent.runtimes.wasi.fs.temporary import TemporaryDirectory
from piecework.worker_agent.runtimes.wasi.memory import GuestMemory

PROGRAM_NAME = b"lambda"
"""``argv[0]``."""
_INPUTS = INPUTS.encode()
_ROOTS = {b"/", b"."}
"""The names of directories in which a libc looks for all paths, also relative ones."""


Streams = tuple[GuestFile, GuestFile, GuestFile]
"""Input, output and log."""


class GuestExitError(Exception):
    """The guest ended itself, well or not."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exit code {code}")
        self.code = code


@dataclass(slots=True)
class Guest:
    """The state that a guest's process would have, were it one."""

    memory: GuestMemory
    files: dict[int, GuestFile]
    args: tuple[bytes, ...]
    env: tuple[bytes, ...]
    clock: Clock
    random: RandomSource
    stop: StopSignal
    call: Call
    answer: bytes = b""
    """What came of its newest call about keys and values."""
    files_max: int = Bounds().open_files
    """So many it may have open."""
    tells_full: bool = False
    """Its log says that there are too many."""
    unopened: Streams | None = None
    """Its first streams, while the directories that are always there wait to be looked for: most guests do not."""

    @classmethod
    def start(cls, call: Call, memory: GuestMemory) -> Self:
        """Set up a guest for one call. Its time begins now."""
        files: dict[int, GuestFile] = {
            0: InputFile(call.input),
            1: OutputFile(call.output.write),
            2: OutputFile(call.log.write),
        }
        for number in call.terminals:
            files[number].kind = FileType.CHARACTER_DEVICE
        return cls(
            memory=memory,
            files=files,
            args=(fsencode(call.program), *map(fsencode, call.args)),
            env=tuple([fsencode(f"{name}={value}") for name, value in call.env.items()]) if call.env else (),
            clock=choose_clock(call),
            random=choose_random(call),
            stop=call.stop,
            call=call,
            files_max=call.bounds.open_files,
        )

    @classmethod
    def start_beneath(cls, call: Call, memory: GuestMemory) -> Self:
        """Set up a guest whose input and output pass over another interface: what it prints is logged."""
        guest = cls.start(call, memory)
        guest.files = {0: InputFile(BytesIO()), 1: OutputFile(call.log.write), 2: OutputFile(call.log.write)}
        guest.args = (PROGRAM_NAME,)
        return guest

    def open_directories(self, call: Call) -> None:
        """Open the directories that a call may use, /tmp and /dev; a libc looks for them from 3 on.

        One that is granted alone is the working directory, too. What is granted comes before what is there anyway.
        """
        streams = self.files[0], self.files[1], self.files[2]
        if call.access is NO_ACCESS and len(self.files) == len(streams):
            self.unopened = streams
            return
        opened = open_directories(call)
        granted: list[GuestDirectory] = [*opened]
        names = {each.granted_as for each in (*granted, *self.files.values())} - {None}
        if not names & _ROOTS and len(names - {_INPUTS}) == 1:
            granted += [each.make_alias(b".") for each in opened if each.granted_as != _INPUTS]
        roots = [each for each in granted if each.granted_as in _ROOTS]
        usual = self._make_usual(streams)
        granted += [each for each in usual if not _has(roots, names, each.granted_as or b"")]
        script = next((each for each in self.files.values() if type(each) is ScriptFolder), None)
        for directory in granted:
            if script is not None and directory.granted_as == script.granted_as:
                script.show(directory)
            else:
                self._add(directory)

    def _make_usual(self, streams: Streams) -> list[GuestDirectory]:
        """Return what is there without a grant."""
        call, devices = self.call, DeviceDirectory(streams, self.random)
        if call.make_folder is None:
            return [devices]
        temporary = TemporaryDirectory(call.make_folder, call.bounds, call.log.write, steady=call.seed is not None)
        return [temporary, devices]

    def _add(self, directory: GuestDirectory) -> None:
        self.files_max += 1  # it takes no place from what the guest opens
        self.files[self.free_number()] = directory

    def free_number(self) -> int:
        """Return the lowest number for a file. Raises WasiError (MFILE) when too many are open."""
        if len(self.files) >= self.files_max:
            if not self.tells_full:
                self.call.log.write(b"it has as many files open as it may (--max-open)\n")
            self.tells_full = True
            raise WasiError(Errno.MFILE)
        return next(number for number in range(3, self.files_max + 4) if number not in self.files)

    def close(self) -> None:
        """Close what is open. Safe to repeat."""
        for file in self.files.values():
            file.close()

    def find(self, fd: int) -> GuestFile | None:
        """Return an open file; None when there is none of this number."""
        found = self.files.get(fd)
        if found is None and self.unopened is not None:
            usual, self.unopened = self._make_usual(self.unopened), None
            for each in usual:
                self._add(each)
            found = self.files.get(fd)
        return found

    def file(self, fd: int) -> GuestFile:
        """Return an open file. Raises WasiError (BADF)."""
        found = self.files.get(fd) or self.find(fd)
        if found is None:
            raise WasiError(Errno.BADF)
        return found


def _has(roots: list[GuestDirectory], names: set[bytes | None], path: bytes) -> bool:
    """Tell whether what is granted has something at a path."""
    if path in names:
        return True
    for root in roots:
        with suppress(WasiError):
            root.stat_path(path[1:], follow=False)
            return True
    return False


HostCall = Callable[..., Errno | None]
"""A call of the guest: takes the guest and the integers that it passed, returns the answer.

Raises WasiError to answer that, and anything else to end the guest.
"""

Calls = dict[str, tuple[str, HostCall]]
"""Calls by name, each with its parameter types: ``i`` for i32, ``I`` for i64."""
