"""A guest that makes exactly the calls that a test tells it to make."""

import ctypes
import io
import struct
import tempfile
import time
from pathlib import Path

import pytest
import wasmtime
from wasi_hand import Hand

from piecework.protocol.messages import Grants
from piecework.worker_agent.runtimes.base import NO_ACCESS, Bounds, Build, Call
from piecework.worker_agent.runtimes.linkage import Allowance
from piecework.worker_agent.runtimes.services.access import NodeRules, Permissions, SharedDir
from piecework.worker_agent.runtimes.stopping import StopSignal
from piecework.worker_agent.runtimes.streams import LogTail, OutputSpool
from piecework.worker_agent.runtimes.wasi.guest import Guest
from piecework.worker_agent.runtimes.wasi.host import CALLS, INTERFACE, WITHOUT_ANSWER, WasiHost
from piecework.worker_agent.runtimes.wasi.memory import GuestMemory

TYPES = {"i": "i32", "I": "i64"}


def make_probe_text():
    """Return a module that imports all of preview 1 and exports it again."""
    lines = []
    for name, (parameters, _) in CALLS.items():
        kinds = " ".join(TYPES[letter] for letter in parameters)
        result = "" if name in WITHOUT_ANSWER else "(result i32)"
        lines.append(f'(import "{INTERFACE}" "{name}" (func ${name} (param {kinds}) {result}))')
        lines.append(f'(export "{name}" (func ${name}))')
    imports = "\n".join(line for line in lines if line.startswith("(import"))
    exports = "\n".join(line for line in lines if line.startswith("(export"))
    return f'(module {imports}\n(memory (export "memory") 64)\n{exports})'


class Probe:
    """A guest that calls what the test tells it to call."""

    def __init__(self, host, prepared, call):
        self.stop, self.output, self.log = call.stop, call.output, call.log
        self.guest_store = prepared.open(Allowance(memory_bytes=2**32, tables=1, table_elements=1))
        self.guest_store.instantiate()
        self.guest = Guest.start(call, GuestMemory(self.guest_store))
        # Most tests are about none of what every guest finds.
        if call.access is not NO_ACCESS or call.make_folder is not None:
            self.guest.open_directories(call)
        self.host = host

    def call(self, name, *arguments):
        self.host.guest = self.guest
        return self.guest_store.call(name, *arguments)

    def put(self, place, data):
        ctypes.memmove(self.guest_store.locate_memory()[0] + place, data, len(data))

    def get(self, place, size):
        return ctypes.string_at(self.guest_store.locate_memory()[0] + place, size)

    def get_u32(self, place):
        return struct.unpack("<I", self.get(place, 4))[0]

    def get_u64(self, place):
        return struct.unpack("<Q", self.get(place, 8))[0]

    def put_vectors(self, place, *vectors):
        self.put(place, b"".join(struct.pack("<II", *vector) for vector in vectors))


@pytest.fixture(scope="session")
def host(toolchain):
    return WasiHost(toolchain.make_linkage(Build()))


@pytest.fixture(scope="session")
def probe_module(toolchain):
    return wasmtime.Module(toolchain.engine(Build()), make_probe_text())


@pytest.fixture
def make_probe(host, probe_module, tmp_path):
    probes, prepared = [], host.linkage.prepare(probe_module)

    def make(
        given=b"", *, args=(), env=None, seed=None, output_bytes=10**7, access=NO_ACCESS, temporary=False, **bounds
    ):
        call = Call(
            input=io.BytesIO(given),
            output=OutputSpool(output_bytes, str(tmp_path / "out")),
            log=LogTail(1000),
            stop=StopSignal(),
            bounds=Bounds(**bounds),
            args=args,
            env=env,
            seed=seed,
            access=access,
            make_folder=(lambda: Path(tempfile.mkdtemp(dir=tmp_path))) if temporary else None,
        )
        call.cpu_started_s = time.thread_time()
        probes.append(Probe(host, prepared, call))
        return probes[-1]

    yield make
    for probe in probes:
        probe.guest.close()
        probe.guest_store.close()
    prepared.close()


@pytest.fixture
def probe(make_probe):
    return make_probe(b"0123456789")


@pytest.fixture
def shared(tmp_path):
    folder = tmp_path / "shared"
    (folder / "sub").mkdir(parents=True)
    (folder / "a").write_bytes(b"0123456789")
    (folder / "sub" / "b").write_bytes(b"below")
    (tmp_path / "secret").write_bytes(b"secret")
    return folder


@pytest.fixture
def hand(make_probe, shared):
    """Return a function: a guest that was granted the folder ``shared`` as /data."""

    def make(*, write=True, granted="/data:rw", **bounds):
        node = NodeRules(dirs=(SharedDir(str(shared), granted.partition(":")[0], write),))
        return Hand(make_probe(access=Permissions.of(Grants(dirs=[granted]), node, "owner"), **bounds))

    return make
