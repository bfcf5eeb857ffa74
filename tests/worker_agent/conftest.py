"""Guests to run, and a workbench of this process to run them on."""

import hashlib
import itertools
import socket
import threading

import msgspec
import pytest
from abis import ABIS
from guest_texts import GUESTS, build, read_guest
from machine_code import COMPILED, INTERPRETERS
from patience import PATIENCE_S

from piecework.worker_agent.guests.frames import Assign
from piecework.worker_agent.guests.marker import Marker
from piecework.worker_agent.guests.work.desk import Desk, Turn
from piecework.worker_agent.guests.work.pulse import Pulse
from piecework.worker_agent.guests.work.workbench import NO_RULES, Workbench
from piecework.worker_agent.runtimes.base import Bounds
from piecework.worker_agent.runtimes.compiling.library import Library
from piecework.worker_agent.runtimes.compiling.toolchain import Toolchain
from piecework.worker_agent.runtimes.linkage.direct import DirectLinkage
from piecework.worker_agent.runtimes.linkage.public import PublicLinkage
from piecework.worker_agent.runtimes.scripting.lua import install_lua
from piecework.worker_agent.runtimes.stopping import StopSignal
from piecework.worker_agent.tasks import File, Task

KEYS = itertools.count(1)
LUA_NAMES = ("lua5.4", "dlabLua", "dlabLua54")


class Ended:
    """What came of a task: the fields of its result, and the answer when it was a request."""

    def __init__(self, done):
        vars(self).update(msgspec.structs.asdict(done.result), response=done.response, whole=done)


@pytest.fixture(scope="session")
def build_guest():
    """Return a function: the code of ``guests/{name}``, a script or a module with what all of its folder have."""

    def build_named(name):
        abi = ABIS.get(name.partition("/")[0])
        if abi is None or abi.suffix == "wat":
            return build(read_guest(name))
        return (GUESTS / f"{name}.{abi.suffix}").read_bytes()

    return build_named


@pytest.fixture(scope="session")
def build_text():
    """Return a function: the wasm of a module in the text format."""
    return build


@pytest.fixture(scope="session")
def store_code(tmp_path_factory):
    """Return a function that puts code into a file, and returns the file and its checksum."""
    folder = tmp_path_factory.mktemp("code")

    def store(code):
        checksum = hashlib.sha256(code).hexdigest()
        path = folder / checksum
        # Once: a guest process may be reading it.
        if not path.exists():
            path.write_bytes(code)
        return path, checksum

    return store


LINKAGES = [
    pytest.param(DirectLinkage, id="direct"),
    pytest.param(PublicLinkage, id="public", marks=pytest.mark.integration),
]
"""The one that nearly every agent has, and in the integration run what those with another wasmtime have, too."""


@pytest.fixture(scope="session", params=LINKAGES)
def toolchain(request):
    # It stays: interpreters take long to compile.
    return Toolchain(COMPILED, request.param)


@pytest.fixture(scope="session")
def interpreters():
    """Return a folder where Lua is; it is built when it is not there, which takes a minute or two."""
    install_lua(INTERPRETERS, print)
    return INTERPRETERS


class Bench(Workbench):
    """A workbench, and what a test asks of its surroundings."""

    reports: list
    desk: Desk
    pulse: Pulse

    def do(self, assign, stop=None):
        """Do a task, and return the report of it."""
        turn = Turn(assign, stop or StopSignal())
        # As the desk does it: the pulse must not go to rest while a guest runs.
        self.desk._turn = turn
        self.pulse.wake()
        try:
            return self.perform(turn)
        finally:
            self.desk._turn = None


@pytest.fixture(scope="session")
def workbench(toolchain):
    """Yield a workbench with a real pulse, and the list of the reports that it sends."""
    near_end, far_end = socket.socketpair()
    gone = threading.Event()
    desk = Desk(far_end, Marker())
    pulse = Pulse(desk, gone.set)
    library = Library(toolchain, INTERPRETERS)
    reports = []
    pulse.start()
    bench = Bench(library, pulse, reports.append)
    bench.reports, bench.desk, bench.pulse = reports, desk, pulse
    yield bench
    near_end.close()
    pulse.wake()
    assert gone.wait(PATIENCE_S)
    far_end.close()
    library.close()


@pytest.fixture
def make_assign(store_code, tmp_path):
    """Return a function that makes an ``Assign`` frame for some code."""

    def make(
        code,
        *,
        key=None,
        runtime="wasi",
        given=b"",
        args=(),
        env=None,
        seed=None,
        mode="text",
        grants=None,
        folder=None,
        inputs=None,
        record=False,
        journal=None,
        engine="cranelift",
        **bounds,
    ):
        path, checksum = store_code(code)
        number = next(KEYS) if key is None else key
        task = Task(
            runtime=runtime,
            codex=str(path),
            checksum=checksum,
            input=given if isinstance(given, bytes) else File(str(given)),
            bounds=Bounds(**{"timeout_s": 10.0, **bounds}),
            args=args,
            env=env or {},
            seed=seed,
            mode=mode,
            grants=grants,
            folder=folder,
            inputs=inputs,
            record=record,
            journal=journal,
            engine=engine,
        )
        return Assign(number, task, str(tmp_path / f"{number}.out"))

    return make


@pytest.fixture
def perform(workbench):
    """Return a function that does a task in this process and returns what came of it."""
    return lambda task: Ended(workbench.do(task))


@pytest.fixture
def run(workbench, perform, make_assign, request):
    """Return a function that runs code in this process and returns what came of it."""

    def run_code(code, rules=NO_RULES, **fields):
        workbench._rules = rules
        if fields.get("runtime") in LUA_NAMES:
            request.getfixturevalue("interpreters")
        return perform(make_assign(code, **fields))

    return run_code
