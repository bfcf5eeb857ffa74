"""Endpoints of the server, and the codes of its answers."""

import re
from collections.abc import Iterable, Iterator
from enum import Enum

import msgspec

from piecework.protocol.codes import Code, ErrorKind
from piecework.protocol.messages import ReplicaState, WaitReason, WorkerState
from piecework.protocol.states import JobState
from piecework.server.api.table import ENDPOINTS
from piecework.server.errors import ServerError
from piecework.server.services.tokens.access import OPEN
from piecework.server.web.endpoint import Endpoint
from piecework.server.web.errors import HTTP_STATUS
from piecework.server.web.fielddocs import field_docs, member_docs
from tables.markdown import as_code, write_table


def write_endpoints() -> str:
    """Every endpoint, with who may call it."""
    rows = [
        (as_code(f"{each.method} {wire_path(each)}"), _scopes(each), each.summary) for each in list_endpoints()
    ]
    return write_table(["endpoint", "scope", "what it does"], rows)


def list_endpoints() -> list[Endpoint]:
    """Return all endpoints, those of a resource together."""
    resources = ["data", "lambda", "job", "group", "schedule", "worker"]
    methods = ["POST", "PUT", "GET", "PATCH", "DELETE"]

    def place(each: Endpoint) -> tuple[int, str, int]:
        resource = each.path.split("/")[1]
        rank = resources.index(resource) if resource in resources else len(resources)
        return rank, each.path, methods.index(each.method)

    return sorted(ENDPOINTS, key=place)


def wire_path(each: Endpoint) -> str:
    """Return an endpoint's path as people write it, with ``{id}`` for the id, and names as ``{function}``."""
    return re.sub(r"<\w+:(\w+)>", r"{\1}", re.sub(r"<\w+>", "{id}", each.path))


def write_parameters(method: str, path: str) -> str:
    """Every query parameter of an endpoint."""
    [found] = [each for each in list_endpoints() if (each.method, wire_path(each)) == (method, path)]
    assert found.query is not None
    docs = field_docs(found.query)
    names = [field.encode_name for field in msgspec.structs.fields(found.query)]
    return write_table(["parameter", "meaning"], [(as_code(name), docs[name]) for name in names])


def _scopes(each: Endpoint) -> str:
    scopes = [each.scope] if isinstance(each.scope, str) else each.scope
    return "anyone" if OPEN in scopes else " or ".join(scopes)


def write_codes() -> str:
    """Every code of a reply, with the HTTP status that comes with it."""
    statuses: dict[int, set[int]] = {int(Code.OK): {200}, int(Code.NO_JOB): {200}}
    for error in _all_subclasses(ServerError):
        statuses.setdefault(int(error.code), set()).add(HTTP_STATUS[error])
    statuses |= {
        int(Code.BAD_BODY): {400},
        int(Code.NO_SUCH_PATH): {404},
        int(Code.METHOD_NOT_ALLOWED): {405},
        int(Code.INTERNAL): {500},
    }
    docs = member_docs(Code)
    del statuses[int(Code.ERROR)]
    rows = [(int(code), _join(statuses.get(code, [])), as_code(code.name), docs[code.name]) for code in Code]
    return write_table(["code", "HTTP", "name", "meaning"], rows)


def _all_subclasses(type_: type[ServerError]) -> Iterator[type[ServerError]]:
    for each in type_.__subclasses__():
        yield each
        yield from _all_subclasses(each)


def _join(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers))) or "any"


def write_error_kinds() -> str:
    """Every kind of error that an outcome may carry."""
    docs = member_docs(ErrorKind)
    return write_table(["kind", "meaning"], [(as_code(kind.value), docs[kind.name]) for kind in ErrorKind])


def write_states() -> str:
    """Every state of a job."""
    docs = member_docs(JobState)
    return write_table(["state", "meaning"], [(as_code(state.value), docs[state.name]) for state in JobState])


def write_worker_states() -> str:
    """Every state of a worker."""
    return _write_states(WorkerState)


def write_wait_reasons() -> str:
    """Every reason why a job waits."""
    return _write_states(WaitReason)


def write_replica_states() -> str:
    """Every state of a replica."""
    return _write_states(ReplicaState)


def _write_states(states: type[Enum]) -> str:
    docs = member_docs(states)
    return write_table(["state", "meaning"], [(as_code(state.value), docs[state.name]) for state in states])
