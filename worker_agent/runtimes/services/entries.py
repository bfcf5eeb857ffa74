"""Keys and values of the server, as guests ask for them. Guests have no connection: somebody asks for them."""

from collections.abc import Callable
from enum import IntEnum
from typing import Literal, Protocol

import msgspec

from piecework.protocol.kv_grants import KvGrant
from piecework.protocol.messages import Grants, ValueSet

ENTRY_PATIENCE_S = 30.0
"""Nobody tries for longer to do what a guest asks for."""
KEYS_MAX = 1000
"""Keys of one answer."""


class EntryFault(IntEnum):
    """Why nothing came of it: error numbers of WASI preview 1, which C's ``errno.h`` has there."""

    NONE = 0
    DENIED = 2
    """EACCES: the lambda may not."""
    AWAY = 6
    """EAGAIN: the server did not do it; later it may."""
    DIFFERS = 11
    """ECANCELED: a condition does not hold."""
    NO_NUMBER = 18
    """EDOM: no whole number is there, or the sum would have more than 64 bits."""
    TOO_LARGE = 22
    """EFBIG: the value would have more bytes than the server keeps."""
    NO_TEXT = 25
    """EILSEQ: it is no UTF-8."""
    INVALID = 28
    """EINVAL: no key can be like that, or what is asked for contradicts itself."""
    UNSURE = 29
    """EIO: no answer came; the change may have been made."""
    NO_NAMESPACE = 43
    """ENODEV: the namespace was removed."""
    NO_VALUE = 44
    """ENOENT: there is no value under the key."""


class EntryRequest(msgspec.Struct, array_like=True, frozen=True):
    """What a guest wants of one of its namespaces."""

    act: Literal["get", "set", "delete", "keys"]
    namespace: int
    key: str
    """For ``keys``: what they begin with."""
    change: ValueSet | None = None
    """For ``set``."""
    if_value: str | None = None
    """For ``delete``: only if this value is there."""
    after: str = ""
    """For ``keys``: those behind this one."""

    @property
    def writes(self) -> bool:
        return self.act in {"set", "delete"}


class EntryAnswer(msgspec.Struct, array_like=True, frozen=True):
    """What came of it."""

    text: bytes = b""
    """The value, or keys with a zero byte behind each; for an error, what is wrong."""
    fault: EntryFault = EntryFault.NONE

    @classmethod
    def fail(cls, fault: EntryFault, message: str) -> "EntryAnswer":
        """Return the answer that says why not."""
        return cls(message.encode(errors="replace"), fault)


AskEntries = Callable[[EntryRequest], EntryAnswer]
"""Does what a guest wants. Raises StoppedError as soon as its call must end."""


def has_no_server(_request: EntryRequest) -> EntryAnswer:
    """Answer where nobody is who could be asked."""
    return EntryAnswer.fail(EntryFault.AWAY, "there is no server with keys and values here")


def find_refusal(request: EntryRequest, grants: Grants | None) -> EntryAnswer | None:
    """Return the answer to what a lambda with these grants may not have done; None when it may."""
    granted = map(KvGrant.parse, grants.kv if grants else ())
    if any(each.namespace == request.namespace and (each.write or not request.writes) for each in granted):
        return None
    return EntryAnswer.fail(EntryFault.DENIED, f"no grant for namespace {request.namespace}")


class GuestEntries(Protocol):
    """Where keys and values are."""

    def perform(self, request: EntryRequest, until: float, is_wanted: Callable[[], bool]) -> EntryAnswer:
        """Do what a guest wants, trying again until then while somebody still wants it. Any thread may call it.

        ``until`` is of the monotonic clock.
        """


class NoEntries:
    """Where there are none."""

    def perform(self, request: EntryRequest, _until: float, _is_wanted: Callable[[], bool]) -> EntryAnswer:
        return has_no_server(request)
