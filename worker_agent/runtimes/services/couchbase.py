"""Statements for Couchbase's query service, through its REST API.

Source: https://docs.couchbase.com/server/current/n1ql-rest-query/index.html
"""

import base64
from typing import Any

import msgspec

from piecework.http.exchange import Request
from piecework.worker_agent.runtimes.services import outbound
from piecework.worker_agent.runtimes.services.access import CouchbaseServer
from piecework.worker_agent.runtimes.services.errors import ServiceError


class _Problem(msgspec.Struct):
    msg: str = ""


class _Answer(msgspec.Struct):
    """What matters of an answer."""

    results: msgspec.Raw = msgspec.Raw(b"[]")
    errors: list[_Problem] = []
    status: str = ""


def query(server: CouchbaseServer, statement: bytes, limits: outbound.RequestLimits) -> bytes:
    """Run a statement and return its rows as a JSON array. Raises ServiceError, StoppedError."""
    response = outbound.send_to(
        _make_request(server, statement), server.host, server.port, limits, secure=server.secure
    )
    try:
        answer = msgspec.json.decode(response.body, type=_Answer)
    except msgspec.DecodeError:
        raise ServiceError(f"Couchbase answered with status {response.status} and no JSON") from None
    if answer.errors or answer.status != "success":
        reasons = (
            "; ".join(problem.msg for problem in answer.errors) or f"status {answer.status or response.status}"
        )
        raise ServiceError(f"Couchbase: {reasons}")
    return bytes(answer.results)


def _make_request(server: CouchbaseServer, statement: bytes) -> Request:
    body: dict[str, Any] = {"statement": statement.decode(errors="replace")}
    login = base64.b64encode(f"{server.user}:{server.password}".encode()).decode()
    headers = (("Content-Type", "application/json"), ("Authorization", f"Basic {login}"))
    return Request("POST", "/query/service", headers, msgspec.json.encode(body))
