"""What is told to the function of where a call came from, and what is left out on both ways."""

from piecework.http.exchange import HOP_BY_HOP, Headers, pick_sendable
from piecework.server.forwarding.messages import JOB_HEADER, REPLICA_TOKEN, CallRefused, FunctionCall, drop_hops
from piecework.server.services.tokens.token_acts import SECRET_PREFIX

HOPS_MAX = 8
"""A call that passed this many proxies like this one goes in a circle."""
_OURS = (
    "host", "expect", "content-length", REPLICA_TOKEN, "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
    "via",
)  # fmt: skip
_NAMES = HOP_BY_HOP.union(_OURS)
_WITH_BODY = {"POST", "PUT", "PATCH"}
"""Of requests by these methods the length is told also when it is 0 (RFC 9110, section 8.6)."""


def headers_for_function(call: FunctionCall, *, underscores: bool) -> list[tuple[str, str]]:
    """Return the headers that the function gets, all but ``Host``. Raises CallRefused for a call in a circle.

    Without ``underscores``, names that have one are dropped: functions that see headers as variables, as CGI and
    WSGI have them, cannot tell them from those with hyphens, which a proxy before this one may have set.
    """
    kept = [
        (name.title(), value)
        for name, value in drop_hops(call.headers, *_OURS)
        if (underscores or "_" not in name) and not _is_ours(name, value)
    ]
    return [*kept, *_tell_length(call), *_tell_origin(call)]


def headers_for_caller(fields: Headers) -> list[tuple[str, str]]:
    """Return the headers of an answer that go to the caller, all but its length. Names are in lower case."""
    kept = drop_hops(fields, "server", REPLICA_TOKEN, JOB_HEADER.lower())
    return [(name.title(), value) for name, value in pick_sendable(tuple(kept))]


def _is_ours(name: str, value: str) -> bool:
    """Tell whether a header has a token of this system, or would be taken for one that only this server sets."""
    if "_" in name:
        return name.replace("_", "-") in _NAMES
    return name == "authorization" and any(
        word.startswith(SECRET_PREFIX) for word in value.replace(",", " ").split()
    )


def _tell_length(call: FunctionCall) -> list[tuple[str, str]]:
    """Return the header with the length of the body that is sent, never what a header of the call makes of it.

    A body that is sent without its length would be taken for the next request.
    """
    is_told = call.length is not None and (call.length > 0 or call.method in _WITH_BODY)
    return [("Content-Length", str(call.length))] if is_told else []


def _tell_origin(call: FunctionCall) -> list[tuple[str, str]]:
    """Return the headers that tell where a call came from. What proxies before this one told is kept."""
    seen, via = call.find_header("x-forwarded-for"), call.find_header("via")
    if via.count("piecework") >= HOPS_MAX:
        raise CallRefused(508, "LOOP", "the call goes in a circle: a URL of the function leads back here")
    told = [
        ("X-Forwarded-For", f"{seen}, {call.peer}" if seen else call.peer),
        ("X-Forwarded-Host", call.find_header("x-forwarded-host") or call.find_header("host")),
        ("X-Forwarded-Proto", call.find_header("x-forwarded-proto") or call.scheme),
        ("Via", f"{via}, 1.1 piecework" if via else "1.1 piecework"),
    ]
    return [(name, value) for name, value in told if value]
