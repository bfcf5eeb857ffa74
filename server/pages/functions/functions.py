"""Functions: revisions, replicas, how calls are divided, and calling one now."""

import io
import time
from typing import Any

from flask import Response, current_app, request

from piecework.protocol.messages import DefaultPut, DeploymentPut, DeploymentScale, FunctionInfo, SplitPut
from piecework.server.api.functions import deployments as api, recorded_calls
from piecework.server.errors import InvalidParameter
from piecework.server.forwarding.gateway import FunctionGate
from piecework.server.forwarding.messages import FunctionCall
from piecework.server.pages.page import ask, go, page, render, value
from piecework.server.pages.previews import Preview, show_bytes
from piecework.server.pages.texts import address
from piecework.server.services import Services
from piecework.server.services.queue.submitting.quotas import find_allowed

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ANSWER_BYTES = 64 * 1024
"""So much of an answer is read."""
HEADERS_MAX = 50


@page("GET", "/functions")
def list_all(_services: Services) -> Response:
    """List functions by name."""
    return render("functions.html", functions=ask(api.list_all).functions)


@page("POST", "/functions")
def deploy(_services: Services) -> Response:
    """Make a revision of a function, of a module or a lambda."""
    function, revision = value("function"), value("revision")
    if not function or not revision:
        raise InvalidParameter("a deployment needs the names of a function and of a revision")
    body = DeploymentPut(default=bool(value("default")))
    if value("module"):
        body.module = value("module")
    if value("lambda"):
        body.lambda_ = value("lambda")
    if value("replicas"):
        body.replicas = _number("replicas")
    ask(api.deploy, function, revision, body=body)
    return go(address(f"/functions/{function}"), f"{function}/{revision} is deployed")


@page("GET", "/functions/<function>")
def show(_services: Services, function: str) -> Response:
    """Show one function: its revisions, where they run, how they do."""
    return _show(ask(api.show, function))


def _show(info: FunctionInfo, **more: Any) -> Response:
    values: dict[str, Any] = {"function": info, "methods": METHODS, "call": None, "sent": {}} | more
    values["weights"] = info.split or {info.default: 100} if info.split or info.default else {}
    return render("function.html", **values)


@page("GET", "/functions/<function>/<revision>/log")
def log(_services: Services, function: str, revision: str) -> Response:
    """Show what the replicas of a revision logged lately."""
    return render(
        "function_log.html", function=function, revision=revision, logs=ask(api.log, function, revision).replicas
    )


@page("POST", "/functions/<function>/act")
def act(_services: Services, function: str) -> Response:
    """Scale a revision, make it the default one, divide the calls, or remove something."""
    what, revision = value("action"), value("revision")
    here = address(f"/functions/{function}")
    match what:
        case "scale":
            ask(api.scale, function, revision, body=DeploymentScale(replicas=_number("replicas")))
            return go(here, f"{revision} is to have {_number('replicas')} replicas")
        case "default":
            ask(api.set_default, function, body=DefaultPut(revision=revision))
            return go(here, f"calls that name no revision go to {revision}")
        case "split":
            weights = {
                name.removeprefix("weight:"): _number(name) for name in request.form if name.startswith("weight:")
            }
            ask(api.split, function, body=SplitPut(weights={name: each for name, each in weights.items() if each}))
            return go(here, "the calls are divided anew")
        case "remove":
            return go(here, ask(api.remove_revision, function, revision).message)
        case "remove-calls":
            return go(here, ask(recorded_calls.delete, function, revision).message)
        case "remove-all":
            return go(address("/functions"), ask(api.remove_function, function).message)
    raise InvalidParameter(f"{what[:40]!r} cannot be done to a function")


@page("POST", "/functions/<function>/call")
def call(services: Services, function: str) -> Response:
    """Call a function, and show its answer, which no browser opens."""
    token = services.access.check("invoke", request.headers)
    info = ask(api.show, function)
    sent = {"method": value("method"), "path": value("path"), "body": request.form.get("body", "")}
    if sent["method"] not in METHODS:
        raise InvalidParameter(
            f"there is no method {sent['method'][:20]!r} here; choose one of {', '.join(METHODS)}"
        )
    path, _, query = sent["path"].lstrip("/").partition("?")
    if not f"{path}{query}".isascii() or not f"{path}{query}".isprintable() or " " in f"{path}{query}":
        raise InvalidParameter("write the path as it is sent: percent-encoded, without spaces")
    body = sent["body"].replace("\r\n", "\n").encode()
    made = FunctionCall(
        method=sent["method"],
        path=f"{function}/{path}".rstrip("/"),
        query=query,
        headers=(("host", request.host), ("content-type", "text/plain; charset=utf-8"), ("accept", "*/*")),
        body=io.BytesIO(body),
        length=len(body),
        peer=request.remote_addr or "",
        scheme=request.scheme,
        caller=token.name if token else None,
        allowed=find_allowed(token),
        is_let_in=True,
    )  # fmt: skip
    began = time.perf_counter()
    gate: FunctionGate = current_app.extensions["piecework-gate"]
    reply = gate.answer(made)
    content = _read(reply.body)
    answer = {
        "status": reply.status,
        "headers": reply.headers[:HEADERS_MAX],
        "took_s": time.perf_counter() - began,
        "body": _preview(content),
    }
    return _show(info, call=answer, sent=sent)


def _read(body: Any) -> bytes:
    """Return the beginning of an answer's body, and one byte more when there is more."""
    if isinstance(body, bytes):
        return body[: ANSWER_BYTES + 1]
    found = bytearray()
    try:
        for piece in body:
            found += piece
            if len(found) > ANSWER_BYTES:
                break
    finally:
        close = getattr(body, "close", None)
        if close is not None:
            close()
    return bytes(found[: ANSWER_BYTES + 1])


def _preview(content: bytes) -> Preview:
    found = show_bytes(content[:ANSWER_BYTES], len(content))
    return show_bytes(content[:ANSWER_BYTES], len(content), wanted="hex") if found.form == "image" else found


def _number(name: str) -> int:
    text = value(name)
    if not text.isdecimal() or len(text) > 9:
        raise InvalidParameter(f"{name} is {text[:40]!r}, and must be a whole number")
    return int(text)
