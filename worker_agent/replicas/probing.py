"""Asking a replica how it does: over a connection of its own, with little patience, through no HTTP proxy."""

import contextlib
import http.client
from urllib.parse import urlsplit

import msgspec

from piecework.worker_agent.replicas.replica import ReplicaFigures

TIMEOUT_S = 2.0
ANSWER_MAX_BYTES = 64 * 1024
TOKEN_HEADER = "Piecework-Replica-Token"  # noqa: S105  # a header's name


class _Stats(msgspec.Struct):
    calls: int = 0
    errors: int = 0
    p50_ms: float | None = None
    p99_ms: float | None = None
    unrecorded: dict[str, int] = {}


def probe(url: str, token: str = "") -> ReplicaFigures | None:
    """Return what the replica at ``url`` says of itself; None unless it says in time that it is well."""
    try:
        if _get(url, "/health", "") is None:
            return None
        found = _get(url, "/stats", token)
    except (OSError, http.client.HTTPException):
        return None
    with contextlib.suppress(msgspec.DecodeError):
        stats = msgspec.json.decode(found or b"{}", type=_Stats)
        return ReplicaFigures(stats.calls, stats.errors, stats.p50_ms, stats.p99_ms, stats.unrecorded)
    return ReplicaFigures()


def _get(url: str, path: str, token: str) -> bytes | None:
    """Return the body of a good answer; None for another one."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        headers = {"Connection": "close"} | ({TOKEN_HEADER: token} if token else {})
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read(ANSWER_MAX_BYTES)
        return body if answer.status == http.client.OK else None
    finally:
        connection.close()
