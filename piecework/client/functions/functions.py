"""The client's calls about functions: deploying them, looking at them, calling them."""

from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType

from piecework.client.calls import AnyId, CallGroup, path_id, path_name
from piecework.client.errors import NotFound, NotReady
from piecework.client.modes import call, iteration
from piecework.client.transport import PreparedRequest
from piecework.http import exchange
from piecework.http.deadlines import Deadline
from piecework.protocol.codes import Code
from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    DefaultPut,
    DeploymentLog,
    DeploymentPut,
    DeploymentScale,
    FunctionInfo,
    FunctionList,
    RecordedCallInfo,
    RecordedCallList,
    RecordedCallReply,
    ReplicaLog,
    ReplicaState,
    RevisionInfo,
    SplitPut,
)

LOOK_S = 0.5
"""How often is looked at what changes by itself."""
CALL_S = 300.0
"""How long the answer of a function may take."""


class FunctionCalls(CallGroup):
    """Functions: names that people call over HTTP. A function and its revisions are known by their names.

    Methods that change one return how it stands then.
    """

    @call
    async def functions(self) -> list[FunctionInfo]:
        """Return all functions with everything that is known about them, by name."""
        return (
            await self.carrier.call(PreparedRequest("GET", "/functions", repeatable=True), FunctionList)
        ).functions

    @call
    async def function(self, name: str) -> FunctionInfo:
        """Return a function with everything that is known about it. Raises NotFound."""
        return await self.carrier.call(PreparedRequest("GET", _path(name), repeatable=True), FunctionInfo)

    @call
    async def deploy(self, function: str, revision: str, deployment: DeploymentPut) -> FunctionInfo:
        """Make a revision, and the function if need be. Safe to repeat.

        Raises Conflict when there is another revision of this name, NotFound for a module or lambda that is not
        there, and Invalid when the code cannot run.
        """
        return await self._change("PUT", _path(function, revision), deployment)

    @call
    async def scale(self, function: str, revision: str, replicas: int) -> FunctionInfo:
        """Have a revision served by so many replicas; with 0, each call is a job. Raises NotFound."""
        return await self._change("PATCH", _path(function, revision), DeploymentScale(replicas=replicas))

    @call
    async def set_default(self, function: str, revision: str) -> FunctionInfo:
        """Send the calls that name no revision to this one. A split ends. Raises NotFound."""
        return await self._change("PUT", _path(function, "default"), DefaultPut(revision=revision))

    @call
    async def remove_default(self, function: str) -> FunctionInfo:
        """End a function's default and its split. Raises NotFound."""
        return await self._change("DELETE", _path(function, "default"))

    @call
    async def split(self, function: str, weights: Mapping[str, int]) -> FunctionInfo:
        """Divide the calls that name no revision among some, by weight. Raises NotFound or Invalid."""
        return await self._change("PUT", _path(function, "split"), SplitPut(weights=dict(weights)))

    @call
    async def undeploy(self, function: str, revision: str | None = None, *, force: bool = False) -> str:
        """Remove a revision, or the whole function; returns what the server says. Raises NotFound.

        Raises Conflict for a revision to which the calls go that name none, unless ``force`` is set.
        """
        path = _path(function) if revision is None else _path(function, revision)
        return await self._steer(
            PreparedRequest("DELETE", path, {"force": "true" if force else None}, repeatable=True)
        )

    @call
    async def await_replicas(
        self, function: str, revision: str, timeout_s: float, pause: Callable[[float], object] | None = None
    ) -> RevisionInfo:
        """Wait until a revision has as many running replicas as it should. Raises NotReady, with what is known."""
        deadline = Deadline(timeout_s)
        while True:
            found = find_revision(await self.within(deadline.allow()).function(function), revision)
            running = sum(each.state is ReplicaState.RUNNING for each in found.replicas)
            if running >= found.wanted:
                return found
            if deadline.is_over():
                raise NotReady(f"{function}/{revision}", running, found.wanted, why_not_ready(found))
            await self._pause(pause)

    @call
    async def function_log(
        self, function: str, revision: str, offsets: Mapping[Id, int] = MappingProxyType({})
    ) -> list[ReplicaLog]:
        """Return the newest part of what each replica of a revision logged. Raises NotFound.

        ``offsets``: by replica, the byte from which on its log is wanted.
        """
        after = ",".join(f"{int(replica)}:{offset}" for replica, offset in offsets.items())
        request = PreparedRequest(
            "GET", f"{_path(function, revision)}/log", {"after": after or None}, repeatable=True
        )
        return (await self.carrier.call(request, DeploymentLog)).replicas

    @iteration
    async def follow_function_log(
        self, function: str, revision: str, pause: Callable[[float], object] | None = None
    ) -> AsyncIterator[ReplicaLog]:
        """Go through what the replicas of a revision log, as it comes and without an end. Raises NotFound."""
        ends: dict[Id, int] = {}
        while True:
            parts = await self.function_log(function, revision, ends)
            for part in parts:
                if part.text:
                    yield part
            ends = {part.replica: part.next for part in parts}
            await self._pause(pause)

    @iteration
    def recorded_calls(
        self, function: str, revision: str, limit: int | None = None
    ) -> AsyncIterator[RecordedCallInfo]:
        """Go through the recorded calls of a revision, newest first; at most ``limit``. Raises NotFound."""
        return self._items(f"{_path(function, revision)}/calls", {}, RecordedCallList, "calls", limit)

    @call
    async def recorded_call(self, function: str, revision: str, call_id: AnyId) -> RecordedCallReply:
        """Return a recorded call; ``piecework.receipts.recorded_calls`` reads its bytes. Raises NotFound."""
        path = f"{_path(function, revision)}/calls/{path_id(call_id)}"
        return await self.carrier.call(PreparedRequest("GET", path, repeatable=True), RecordedCallReply)

    @call
    async def delete_recorded_calls(self, function: str, revision: str) -> str:
        """Remove all recorded calls of a revision. Returns what the server says. Raises NotFound."""
        path = f"{_path(function, revision)}/calls"
        return await self._steer(PreparedRequest("DELETE", path, repeatable=True))

    @call
    async def invoke(
        self, function: str, request: exchange.Request, revision: str | None = None, timeout_s: float = CALL_S
    ) -> exchange.Response:
        """Call a function and return its answer, whatever its status is. Never repeated here."""
        named = [function] if revision is None else [function, revision]
        target = "/".join(["/functions", *map(path_name, named)]) + ("" if request.uri == "/" else request.uri)
        reply = await self.carrier.relay(request._replace(uri=target), timeout_s)
        return exchange.Response(reply.status, tuple(reply.headers.items()), reply.content)

    async def _pause(self, pause: Callable[[float], object] | None) -> None:
        if pause is None:
            await self.carrier.rest(LOOK_S)
        else:
            pause(LOOK_S)

    async def _change(self, method: str, path: str, body: object = None) -> FunctionInfo:
        return await self.carrier.call(PreparedRequest(method, path, body=body, repeatable=True), FunctionInfo)


def find_revision(function: FunctionInfo, name: str) -> RevisionInfo:
    """Return a revision of a function. Raises NotFound when it has none of this name."""
    found = next((each for each in function.revisions if each.name == name), None)
    if found is None:
        known = ", ".join(each.name for each in function.revisions)
        message = f"the function {function.name} has no revision {name}; it has {known}"
        raise NotFound(404, Code.REVISION_NOT_FOUND, message)
    return found


def pick_revision(function: FunctionInfo, name: str | None) -> RevisionInfo:
    """Return a revision by its name or, without one, the default, or the only one.

    Raises NotFound when there is none of this name, or none is meant more than another.
    """
    if name is not None or isinstance(function.default, str):
        return find_revision(function, name or str(function.default))
    if len(function.revisions) == 1:
        return function.revisions[0]
    known = ", ".join(each.name for each in function.revisions) or "none"
    raise NotFound(404, Code.REVISION_NOT_FOUND, f"name one of the revisions of {function.name}: {known}")


def why_not_ready(revision: RevisionInfo) -> str:
    """Say what keeps replicas from running; "" when nothing is known."""
    reasons = [revision.advice] if isinstance(revision.advice, str) else []
    ill = [each for each in revision.replicas if each.state is not ReplicaState.RUNNING and each.error]
    reasons += [f"on {each.worker_name}: {each.error}" for each in ill]
    return "; ".join(dict.fromkeys(reasons))


def _path(function: str, revision: str | None = None) -> str:
    names = [function] if revision is None else [function, revision]
    return "/".join(["/deployments", *map(path_name, names)])
