"""The client's calls about what is paused as a whole."""

from piecework.client.calls import CallGroup, path_key
from piecework.client.modes import call
from piecework.client.transport import PreparedRequest
from piecework.protocol.messages import HoldInfo, HoldKind, HoldList, HoldPut


class HoldCalls(CallGroup):
    """Lambdas, runtimes, groups and tenants that are paused: jobs come in, and none is given to a worker."""

    @call
    async def pause(self, kind: HoldKind, target: str | int, note: str = "") -> list[HoldInfo]:
        """Pause a lambda, a runtime, a group or a tenant, and return how it is paused; safe to repeat.

        ``target``: a lambda's id or name (all lambdas that have it are meant), the name of a runtime (those with
        more features are meant, too) or tenant, a group's id or name. ``note``: why, for people. Raises NotFound.
        """
        request = PreparedRequest("PUT", _path(kind, target), body=HoldPut(note=note), repeatable=True)
        return (await self.carrier.call(request, HoldList)).holds

    @call
    async def resume(self, kind: HoldKind, target: str | int) -> list[HoldInfo]:
        """Let a lambda, a runtime, a group or a tenant go on, and return what was paused, if anything was."""
        request = PreparedRequest("DELETE", _path(kind, target), repeatable=True)
        return (await self.carrier.call(request, HoldList)).holds

    @call
    async def holds(self) -> list[HoldInfo]:
        """Return what is paused, oldest first."""
        return (await self.carrier.call(PreparedRequest("GET", "/hold", repeatable=True), HoldList)).holds


def _path(kind: HoldKind, target: str | int) -> str:
    return f"/hold/{kind}/{path_key(str(target))}"
