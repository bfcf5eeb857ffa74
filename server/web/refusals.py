"""How the audit is told of requests that were refused: by whom, which endpoint, and from where."""

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager

from werkzeug.wrappers import Request

from piecework.http.addresses import is_loopback
from piecework.server.errors import CapacityReached, Forbidden, QuotaReached, ServerError, Unauthorized
from piecework.server.services import Services
from piecework.server.store.stock.audit import Actor

NOTED: dict[type[Exception], int] = {Unauthorized: 401, Forbidden: 403, QuotaReached: 429, CapacityReached: 429}
"""What is noted, with its status."""


@contextmanager
def naming(who: str | None) -> Iterator[None]:
    """Have refusals tell whose token they refuse: its name, None where there is none."""
    try:
        yield
    except ServerError as error:
        error.who = error.who or who
        raise


def note_refusal(services: Services, error: Exception, target: str, peer: str, forwarded: str) -> None:
    """Note a request that failed, if it was refused.

    ``target``: its method, and the path of its endpoint with no word of the caller. ``peer``: the address that it
    came from; ``forwarded``: its header X-Forwarded-For.
    """
    status = NOTED.get(type(error))
    if status is not None and isinstance(error, ServerError):
        actor = Actor("token", error.who) if error.who else Actor("nobody")
        services.audit.refusals.note(actor, status, target, f"from {find_origin(peer, forwarded)}")


def note_refused_request(services: Services, error: Exception, asked: Request) -> None:
    """Note a request to an endpoint or a page that failed, if it was refused."""
    if type(error) in NOTED:
        rule = asked.url_rule.rule if asked.url_rule else "…"  # type: ignore[attr-defined]  # Flask's, not werkzeug's
        forwarded = asked.headers.get("X-Forwarded-For", "")
        note_refusal(services, error, f"{asked.method} {rule}", asked.remote_addr or "", forwarded)


def find_origin(peer: str, forwarded: str) -> str:
    """Return where a request came from. A proxy on this machine is believed what it added last."""
    if not is_loopback(peer):
        return peer[:100] or "nowhere"
    try:
        return f"{ipaddress.ip_address(forwarded.rpartition(',')[2].strip())} by way of {peer}"
    except ValueError:
        return peer
