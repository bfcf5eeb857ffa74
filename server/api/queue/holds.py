"""What is paused as a whole: ``/hold``."""

from collections.abc import Sequence
from contextlib import suppress

from flask import request
from msgspec import UNSET

from piecework.protocol.messages import HoldInfo, HoldKind, HoldList, HoldPut
from piecework.server.errors import GroupNotFound, InvalidParameter, LambdaNotFound
from piecework.server.services import Services
from piecework.server.store.queue.leasing.holds import KINDS, Hold
from piecework.server.web.endpoint import endpoint

OF_ALL = frozenset({"runtime", "tenant"})
"""What concerns more than one's own jobs."""


@endpoint("GET", "/hold", scope="view", reply=HoldList)
def list_all(services: Services) -> HoldList:
    """List the lambdas, runtimes, groups and tenants that are paused, oldest first."""
    return _tell(services, services.pauses.list_all())


@endpoint("PUT", "/hold/<string:kind>/<text:target>", scope="submit", body=HoldPut, reply=HoldList, caller=True)
def pause(services: Services, kind: str, target: str, body: HoldPut, caller: str | None) -> HoldList:
    """Pause a lambda, a runtime, a group or a tenant: jobs come in, and none is given to a worker from now on."""
    checked = _check(services, kind)
    return _tell(services, services.pauses.pause(checked, _find(services, checked, target), body.note, caller))


@endpoint("DELETE", "/hold/<string:kind>/<text:target>", scope="submit", reply=HoldList)
def resume(services: Services, kind: str, target: str) -> HoldList:
    """Let a lambda, a runtime, a group or a tenant go on. Jobs that were paused one by one stay so."""
    checked = _check(services, kind)
    return _tell(services, services.pauses.resume(checked, _find(services, checked, target)))


def _check(services: Services, kind: str) -> HoldKind:
    """Return what is meant. Raises InvalidParameter, or Forbidden for what only operators pause."""
    if kind not in KINDS:
        raise InvalidParameter(f"{kind[:40]!r} cannot be paused; what can is {', '.join(KINDS)}")
    if kind in OF_ALL:
        services.access.check("operate", request.headers)
    return kind


def _find(services: Services, kind: HoldKind, target: str) -> list[str]:
    """Return what a path names, several lambdas by one name. Raises LambdaNotFound or GroupNotFound."""
    if kind == "lambda":
        return list(map(str, services.lambdas.list_meant(target)))
    if kind == "group":
        return [str(services.groups.find(target).id)]
    return [target]


def _tell(services: Services, found: Sequence[Hold]) -> HoldList:
    return HoldList(
        holds=[
            HoldInfo(
                kind=hold.kind,
                target=hold.target,
                name=_find_name(services, hold) or UNSET,
                since=hold.held_at / 1000,
                by=hold.held_by or UNSET,
                note=hold.note or UNSET,
            )
            for hold in found
        ]
    )


def _find_name(services: Services, hold: Hold) -> str | None:
    """Return what a lambda or a group is called; None when it has no name, or is gone."""
    with suppress(LambdaNotFound, GroupNotFound):
        if hold.kind == "lambda":
            return services.lambdas.get(int(hold.target)).name
        if hold.kind == "group":
            return services.groups.find(hold.target).name
    return None
