"""The client's calls about limits by key, and about tenants."""

from collections.abc import AsyncIterator

from msgspec import UNSET

from piecework.client.calls import CallGroup, path_key
from piecework.client.modes import call, iteration
from piecework.client.transport import PreparedRequest
from piecework.protocol.messages import (
    LimitCheck,
    LimitInfo,
    LimitList,
    LimitPut,
    TenantInfo,
    TenantList,
    TenantPut,
)


class LimitCalls(CallGroup):
    """Limits by key: how many jobs of a key run at once or start in a time. And tenants, which take turns."""

    @iteration
    def limits(self, limit: int | None = None) -> AsyncIterator[LimitInfo]:
        """Go through the limits by kind and key, with how much of each is used; at most ``limit`` of them."""
        return self._items("/limit", {}, LimitList, "limits", limit)

    @call
    async def limit(self, key: str) -> list[LimitInfo]:
        """Return the limits of a key: one of each kind at most. Raises NotFound when it has none."""
        request = PreparedRequest("GET", f"/limit/{path_key(key)}", repeatable=True)
        return (await self.carrier.call(request, LimitList)).limits

    @call
    async def set_limit(
        self, key: str, *, concurrency: int | None = None, rate: int | None = None, period_s: float = 1.0
    ) -> list[LimitInfo]:
        """Set what counts for a key, whatever its jobs say, and return its limits.

        Of its jobs, ``concurrency`` run at once, and ``rate`` start within ``period_s``. 0: none of them start;
        None: leave that as it is.
        """
        body = LimitPut(
            concurrency=UNSET if concurrency is None else concurrency,
            rate=UNSET if rate is None else rate,
            period_s=UNSET if rate is None else period_s,
        )
        request = PreparedRequest("PUT", f"/limit/{path_key(key)}", body=body, repeatable=True)
        return (await self.carrier.call(request, LimitList)).limits

    @call
    async def clear_limit(self, key: str) -> str:
        """Take back what an operator set for a key. Returns what the server says. Raises NotFound."""
        return await self._steer(PreparedRequest("DELETE", f"/limit/{path_key(key)}", repeatable=True))

    @call
    async def check_limits(self) -> LimitCheck:
        """Have the running jobs of all keys counted anew, and what is kept corrected."""
        return await self.carrier.call(PreparedRequest("POST", "/limit", repeatable=True), LimitCheck)

    @iteration
    def tenants(self, limit: int | None = None) -> AsyncIterator[TenantInfo]:
        """Go through the tenants by name, with how many jobs each has; at most ``limit`` of them."""
        return self._items("/tenant", {}, TenantList, "tenants", limit)

    @call
    async def set_tenant(self, name: str, weight: int) -> TenantInfo:
        """Say how many jobs of a tenant go in one of its turns, 1 to 1000."""
        request = PreparedRequest(
            "PUT", f"/tenant/{path_key(name)}", body=TenantPut(weight=weight), repeatable=True
        )
        return await self.carrier.call(request, TenantInfo)
