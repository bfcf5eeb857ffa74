"""The client's calls about namespaces, and the keys and values in them."""

from collections.abc import AsyncIterator
from typing import Literal

from msgspec import UNSET

from piecework.client.calls import AnyId, CallGroup, path_id, path_key
from piecework.client.modes import call, iteration
from piecework.client.transport import PreparedRequest
from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    KeyList,
    MessageReply,
    NamespaceCreate,
    NamespaceCreated,
    NamespaceInfo,
    NamespaceList,
    Reply,
    ValueDelete,
    ValueReply,
    ValueSet,
)

FULL = {"view": "full"}


class NamespaceCalls(CallGroup):
    """Namespaces: sets of keys that have values, both of them texts. A change is done as a whole or not at all.

    A namespace that is not there, and a key without a value, get NotFound (codes 1011, 1012). What is no key gets
    ValueError.
    """

    @call
    async def create_namespace(self, consistency: Literal["none", "eventual"] | None = None) -> Id:
        """Make a namespace and return its id. Not repeated here: a lost answer leaves one that nobody knows."""
        body = NamespaceCreate(consistency=UNSET if consistency is None else consistency)
        return (await self.carrier.call(PreparedRequest("POST", "/kv", body=body), NamespaceCreated)).id

    @iteration
    def namespaces(self, limit: int | None = None) -> AsyncIterator[NamespaceInfo]:
        """Go through the namespaces, newest first, with what each holds; at most ``limit`` of them."""
        return self._items("/kv/namespaces", {}, NamespaceList, "namespaces", limit)

    @call
    async def namespace(self, namespace: AnyId) -> NamespaceInfo:
        """Return a namespace with what it holds."""
        request = PreparedRequest("GET", _path(namespace), FULL, repeatable=True)
        return await self.carrier.call(request, NamespaceInfo)

    @call
    async def flush_namespace(self, namespace: AnyId) -> None:
        """Remove all keys and values of a namespace at once."""
        await self.carrier.call(PreparedRequest("DELETE", f"{_path(namespace)}/field", repeatable=True), Reply)

    @call
    async def remove_namespace(self, namespace: AnyId) -> str:
        """Remove a namespace with all that is in it. Returns what the server says."""
        request = PreparedRequest("DELETE", _path(namespace), repeatable=True)
        return (await self.carrier.call(request, MessageReply)).message

    @iteration
    def keys(self, namespace: AnyId, prefix: str = "", limit: int | None = None) -> AsyncIterator[str]:
        """Go through the keys that begin with ``prefix``, in the order of their UTF-8 bytes."""
        return self._items(f"{_path(namespace)}/field", {"prefix": prefix or None}, KeyList, "keys", limit)

    @call
    async def keys_after(
        self, namespace: AnyId, key: str, *, prefix: str = "", limit: int | None = None
    ) -> list[str]:
        """Return the next keys behind one, in the same order, at most ``limit``; "" begins at the first.

        Without ``limit`` they are as many as the server lists at once.
        """
        query = {"prefix": prefix or None, "limit": limit, "cursor": key or None}
        request = PreparedRequest("GET", f"{_path(namespace)}/field", query, repeatable=True)
        return (await self.carrier.call(request, KeyList)).keys

    @call
    async def get_value(self, namespace: AnyId, key: str) -> str:
        """Return the value under a key."""
        return (await self.entry(namespace, key)).value

    @call
    async def entry(self, namespace: AnyId, key: str) -> ValueReply:
        """Return the value under a key, and its times."""
        return await self.carrier.call(_request("GET", namespace, key, repeatable=True), ValueReply)

    @call
    async def set_value(
        self,
        namespace: AnyId,
        key: str,
        value: str,
        *,
        expire_s: float | None = None,
        append: bool = False,
        get: bool = False,
        if_value: str | None = None,
        if_absent: bool = False,
    ) -> str:
        """Set the value under a key. Returns the one that is there now; with ``get`` the one from before, or "".

        ``expire_s``: how long it stays, 0 for ever; None: for ever, but what is appended to keeps its time.
        ``append``: put ``value`` behind what is there. ``if_value``, ``if_absent``: raise Conflict (code 1013),
        and change nothing, unless this value is there, or none. Raises TooLarge. Only a plain change is repeated.
        """
        body = ValueSet(
            value=value,
            expire=UNSET if expire_s is None else expire_s,
            append=append or UNSET,
            get=get or UNSET,
            if_value=UNSET if if_value is None else if_value,
            if_absent=if_absent or UNSET,
        )
        return await self.change_value(namespace, key, body)

    @call
    async def change_value(self, namespace: AnyId, key: str, change: ValueSet) -> str:
        """Do what ``set_value`` and ``add_to_value`` do, as a message says it. Only a plain change is repeated."""
        request = _request("POST", namespace, key, body=change, repeatable=is_plain(change))
        return (await self.carrier.call(request, ValueReply)).value

    @call
    async def add_to_value(
        self, namespace: AnyId, key: str, amount: int = 1, *, expire_s: float | None = None
    ) -> int:
        """Add to the number under a key, 0 when there is none, and return the sum. Not repeated here.

        ``expire_s`` as ``set_value`` has it. Raises Conflict (code 1014) when no whole number is there.
        """
        body = ValueSet(incr=amount, expire=UNSET if expire_s is None else expire_s)
        return int(await self.change_value(namespace, key, body))

    @call
    async def delete_value(self, namespace: AnyId, key: str, *, if_value: str | None = None) -> None:
        """Remove a key and its value. ``if_value``: raise Conflict (code 1013) unless this value is there."""
        body = None if if_value is None else ValueDelete(if_value=if_value)
        await self.carrier.call(_request("DELETE", namespace, key, body=body, repeatable=True), Reply)


def is_plain(change: ValueSet) -> bool:
    """Tell whether a change is the same done twice: what is there has no part in it."""
    return change.value is not UNSET and not (
        change.append or change.get or change.if_absent or change.if_value is not UNSET
    )


def _path(namespace: AnyId) -> str:
    return f"/kv/{path_id(namespace)}"


def _request(
    method: str, namespace: AnyId, key: str, *, body: object = None, repeatable: bool = False
) -> PreparedRequest:
    """Return a request about a key."""
    return PreparedRequest(
        method,
        f"{_path(namespace)}/field/",
        FULL if method == "GET" else {},
        body=body,
        repeatable=repeatable,
        last_part=path_key(key),
    )
