"""Keys and values of guests at the control server."""

import random
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from piecework.backoff import Pauses
from piecework.client import (
    ApiError,
    Busy,
    Client,
    ClientError,
    Invalid,
    NotFound,
    Refused,
    ServerUnreachable,
    TooLarge,
)
from piecework.client.retries import RetryPolicy
from piecework.client.stock.namespaces import is_plain
from piecework.protocol.codes import Code
from piecework.protocol.messages import ValueSet
from piecework.worker_agent.link.link import is_refusal
from piecework.worker_agent.runtimes.services import ANSWER_BYTES
from piecework.worker_agent.runtimes.services.entries import KEYS_MAX, EntryAnswer, EntryFault, EntryRequest

HASTY = RetryPolicy(attempts=1, connect_s=5.0, read_s=5.0)
"""A guest waits, so a server that is silent is asked again, where that does no harm."""
_FAULTS = {
    Code.NAMESPACE_NOT_FOUND: EntryFault.NO_NAMESPACE,
    Code.VALUE_NOT_FOUND: EntryFault.NO_VALUE,
    Code.VALUE_DIFFERS: EntryFault.DIFFERS,
    Code.NOT_A_NUMBER: EntryFault.NO_NUMBER,
}


class ServerEntries:
    """Does what guests want over the agent's own connections, and repeats what may be repeated."""

    def __init__(self, client: Client, new_pauses: Callable[[], Pauses], pause: Callable[[float], object]) -> None:
        self._client = client.with_retries(HASTY)
        self._new_pauses = new_pauses
        self._pause = pause

    def perform(self, request: EntryRequest, until: float, is_wanted: Callable[[], bool]) -> EntryAnswer:
        """See ``GuestEntries``. What may have been done is not done again, but for what is the same done twice."""
        pauses, unsure = self._new_pauses(), False
        while True:
            try:
                left_s = max(until - time.monotonic(), 1.0)
                return _measure(_send(self._client.within(left_s), request))
            except ClientError as error:
                if is_refusal(error):
                    return _explain(error, request, unsure=unsure)
                unsure = unsure or _may_be_done(error)
                pause_s = pauses.next_s(error)
                hopeless = unsure and not _is_repeatable(request)
                if hopeless or not is_wanted() or time.monotonic() + pause_s >= until:
                    return _give_up(unsure=unsure and request.writes)
            self._pause(pause_s)


def open_server_entries(url: str, token: str | None, ca: Path | None) -> ServerEntries:
    """Return the keys and values of a server that nobody is connected to yet. Raises ValueError for a bad URL."""
    return wait_between_tries(Client(url, token or "", attempts=1, ca=ca))


def wait_between_tries(client: Client) -> ServerEntries:
    """Return the keys and values of a server, with pauses as agents have them."""
    return ServerEntries(client, partial(Pauses, random.random), threading.Event().wait)


def _send(client: Client, request: EntryRequest) -> bytes:
    """Do what is wanted once, and return the text of the answer. Raises ClientError."""
    namespace, key = request.namespace, request.key
    match request.act:
        case "get":
            return client.get_value(namespace, key).encode()
        case "keys":
            return b"".join(each.encode() + b"\0" for each in _list_keys(client, request))
        case "delete":
            client.delete_value(namespace, key, if_value=request.if_value)
            return b""
        case "set":
            return client.change_value(namespace, key, request.change or ValueSet()).encode()


def _list_keys(client: Client, request: EntryRequest) -> list[str]:
    try:
        return client.keys_after(request.namespace, request.after, prefix=request.key, limit=KEYS_MAX)
    except Invalid:  # the operator wants shorter answers
        return client.keys_after(request.namespace, request.after, prefix=request.key)


def _measure(text: bytes) -> EntryAnswer:
    if len(text) > ANSWER_BYTES:
        return EntryAnswer.fail(EntryFault.TOO_LARGE, f"the answer has more than {ANSWER_BYTES} bytes")
    return EntryAnswer(text)


def _is_repeatable(request: EntryRequest) -> bool:
    """Tell whether doing it twice is the same as doing it once."""
    return request.if_value is None if request.change is None else is_plain(request.change)


def _may_be_done(error: ClientError) -> bool:
    if isinstance(error, ServerUnreachable):
        return error.sent
    return not isinstance(error, Busy)


def _give_up(*, unsure: bool) -> EntryAnswer:
    """Return the answer without one of the server, whose URL is not for guests."""
    if unsure:
        return EntryAnswer.fail(EntryFault.UNSURE, "no answer from the server: it may have been done")
    return EntryAnswer.fail(EntryFault.AWAY, "the server is away or busy: nothing was done")


def _explain(error: ClientError, request: EntryRequest, *, unsure: bool) -> EntryAnswer:
    """Return the answer for a refusal; ``unsure``: it was tried before, and may have been done."""
    assert isinstance(error, ApiError)
    if isinstance(error, NotFound) and request.act == "delete" and unsure and error.code == Code.VALUE_NOT_FOUND:
        return EntryAnswer()
    fault = _FAULTS.get(Code(error.code)) if error.code in _FAULTS else None
    if fault is None:
        fault = EntryFault.TOO_LARGE if isinstance(error, TooLarge) else EntryFault.INVALID
    if isinstance(error, Refused):
        fault = EntryFault.AWAY
    return EntryAnswer.fail(fault, error.message)
