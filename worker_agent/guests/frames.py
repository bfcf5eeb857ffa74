"""What the agent and a process that runs guests say to each other, over a socket pair.

A frame is its length (u32, little endian) and a MessagePack body.
"""

import struct
from collections.abc import Iterator
from typing import Generic, Literal, TypeVar

import msgspec

from piecework.http.exchange import Request, Response
from piecework.worker_agent.runtimes import Engine
from piecework.worker_agent.runtimes.base import COMPILE_BYTES
from piecework.worker_agent.runtimes.services.access import NodeRules
from piecework.worker_agent.runtimes.services.entries import EntryAnswer, EntryRequest
from piecework.worker_agent.tasks import Result, Task

MAX_FRAME_BYTES = 1024 * 1024 * 1024
"""A longer frame means that the other side lost its mind."""
LOAD_S = 120.0
"""How long compiling code may take, unless somebody says otherwise, seconds."""
_LENGTH = struct.Struct("<I")
StoreAct = Literal["set", "get", "delete", "set_default", "find_keys"]


class Frame(msgspec.Struct, array_like=True, tag=True, frozen=True, gc=False):
    """Something that one side says. ``key`` names the task that it is about.

    The garbage collector looks at none (``gc``), nor at what is in them: nothing in there refers back to it.
    """

    key: int


class Equip(Frame, frozen=True):
    """To the guest process, once, before all else: what the node's operator allows. The key means nothing."""

    rules: NodeRules
    load_s: float = LOAD_S
    """How long compiling code may take, seconds."""
    compile_bytes: int = COMPILE_BYTES
    """How much memory that may take."""
    engine: Engine = "cranelift"
    """What runs tasks that do not ask for another one."""


class Serving(msgspec.Struct, array_like=True, frozen=True):
    """What a task is beyond a job when its function is served."""

    request: Request | None = None
    """Answer it; None: load the code, and rehearse the start of its guest."""
    http_port: int | None = None
    """Where requests come in."""


class Attached(msgspec.Struct, array_like=True, frozen=True):
    """Streams that a guest process shares with who started it, as descriptors: its guest reads and writes them."""

    stdin: int | None
    """None: the input is the task's."""
    stdout: int
    stderr: int
    """Where the log goes."""
    ends_line: bool = False
    """The output is followed by a line break, unless it ends with one."""
    args: tuple[bytes, ...] = ()
    """Further arguments; those of a task are UTF-8."""
    env: dict[bytes, bytes] = {}
    """Further variables."""


class Assign(Frame, frozen=True):
    """To the guest process: run this after what was assigned before."""

    task: Task
    spool: str
    """Where an output goes that is too large for a frame."""
    serving: Serving | None = None
    """None: it is a job. Else keys and values in memory are kept by the other side, for all guest processes."""
    attached: Attached | None = None
    """None: output and log come with the report."""

    @property
    def journal_spool(self) -> str:
        """Where a journal goes that is too large for a frame."""
        return f"{self.spool}.journal"


class Recall(Frame, frozen=True):
    """To the guest process: give the task back unless it runs. Answered by ``Returned`` or ``Kept``."""


class Halt(Frame, frozen=True):
    """To the guest process: drop the task, or stop it when it runs. Answered by ``Returned`` or ``Done``."""


class Fetched(Frame, frozen=True):
    """To the guest process: the answer to ``Fetch``."""

    values: list[bytes]
    error: str = ""
    """Not empty: it did not work."""


class Told(Frame, frozen=True):
    """To the guest process: the answer to ``Ask``."""

    number: int
    answer: EntryAnswer


class Ready(Frame, frozen=True):
    """From the guest process, once: it takes tasks. The key means nothing."""


class Loading(Frame, frozen=True):
    """From the guest process: it begins to load the task's code, which may take long."""


class Loaded(Frame, frozen=True):
    """From the guest process: the task's code is loaded, its guest begins to run."""


class Logged(Frame, frozen=True):
    """From the guest process: what the running task logged since the last such frame."""

    log: bytes
    offset: int
    """Bytes logged before ``log``."""


class Done(Frame, frozen=True):
    """From the guest process: the task ended, in some cases because of a ``Halt``."""

    result: Result
    response: Response | None = None
    """The answer, when the task was a request."""


class Returned(Frame, frozen=True):
    """From the guest process: the task did not begin, and will not."""


class Kept(Frame, frozen=True):
    """From the guest process: the task began already, or is not here."""


class Fetch(Frame, frozen=True):
    """From the guest process: do this with the keys and values that its guests share. Answered by ``Fetched``."""

    act: StoreAct
    """A method of ``MemoryStore``."""
    words: list[bytes]


class Ask(Frame, frozen=True):
    """From the guest process: the running task's guest wants this of a namespace. Answered by ``Told``."""

    number: int
    """Of all that the process asks."""
    request: EntryRequest


ToGuests = Equip | Assign | Recall | Halt | Fetched | Told
FromGuests = Ready | Loading | Loaded | Logged | Done | Returned | Kept | Fetch | Ask

_encoder = msgspec.msgpack.Encoder()
T = TypeVar("T")


class FrameError(Exception):
    """The other side sent something that is no frame."""


def pack(frame: Frame) -> bytes:
    """Write a frame."""
    data = bytearray()
    pack_into(data, frame)
    return bytes(data)


def pack_into(outbox: bytearray, frame: Frame) -> None:
    """Write a frame after those that are there."""
    start = len(outbox)
    outbox += bytes(_LENGTH.size)
    body = len(outbox)
    _encoder.encode_into(frame, outbox, body)
    _LENGTH.pack_into(outbox, start, len(outbox) - body)


class FrameReader(Generic[T]):
    """Cuts a stream of bytes into frames."""

    def __init__(self, decoder: "msgspec.msgpack.Decoder[T]") -> None:
        self._decoder = decoder
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[T]:
        """Add bytes, and return the frames that are complete now. Raises FrameError."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(buffer)
            if size > MAX_FRAME_BYTES:
                raise FrameError(f"a frame of {size} bytes")
            end = _LENGTH.size + size
            if len(buffer) < end:
                return
            body = buffer[_LENGTH.size : end]
            # Cheap: a bytearray moves its start, not its bytes.
            del buffer[:end]
            try:
                yield self._decoder.decode(body)
            except msgspec.DecodeError as error:
                raise FrameError(str(error)) from error


def read_commands() -> FrameReader[ToGuests]:
    """Return a reader for the guest process's side."""
    return FrameReader(msgspec.msgpack.Decoder(ToGuests))


def read_reports() -> FrameReader[FromGuests]:
    """Return a reader for the agent's side."""
    return FrameReader(msgspec.msgpack.Decoder(FromGuests))
