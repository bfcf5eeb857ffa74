"""How Capsule puts requests, results and errors into texts. No guest and no network here: texts in, texts out."""

import base64
import re
from typing import Any

import msgspec

from piecework.http.exchange import Headers, Request, Response, check_status
from piecework.worker_agent.runtimes.capsule.generations import SEPARATOR, Generation

_BODY, _HEADERS, _ERROR = b"[BODY]", b"[HEADERS]", re.compile(rb"\[ERR\]\[(\d+)\]:(.*)", re.DOTALL)
_EMPTY = b"empty"
"""What guests pass in the place of an empty text."""
_ANY_HEADER = ("Accept", "*/*")
"""Passed when a request has no headers: the oldest guests trap on none."""
_MIME_JSON = "json"
_SUCCESS, _FAILURE = b"S", b"F"


class GuestError(Exception):
    """The guest answered that it failed; the message is its own."""


class BadAnswerError(Exception):
    """The guest's answer is not one that its interface has; the message says why."""


class BadRequestError(ValueError):
    """The request cannot be put for this generation of guests; the message says why."""


def join_arguments(arguments: list[bytes], generation: Generation) -> bytes:
    """Return the one text that a text call passes."""
    return generation.arguments.encode().join(arguments)


def join_headers(headers: Headers, separator: str) -> str:
    """Return headers as one text, never an empty one. A separator inside of a header becomes a comma."""
    return separator.join(
        f"{name.replace(separator, ',')}:{value.replace(separator, ',')}"
        for name, value in headers or [_ANY_HEADER]
    )


def split_headers(text: bytes, separator: str) -> Headers:
    """Return the headers in a text. Only the first colon of each separates; what has none is no header."""
    items = [item.partition(":") for item in text.decode(errors="replace").split(separator)]
    return tuple((name.strip(), value.strip()) for name, colon, value in items if colon and name.strip())


def put_request(request: Request, generation: Generation) -> list[bytes]:
    """Return the texts that a handler takes."""
    parts = {
        "body": request.body,
        "uri": request.uri.encode(),
        "headers": join_headers(request.headers, generation.headers_in).encode(),
        "method": request.method.encode(),
    }
    if generation.lettered:
        return [write_request(request)]
    return [parts[name] for name in generation.passes]


def join_request(request: Request, generation: Generation) -> bytes:
    """Return a request as the one text that guests of the third generation ask for. Raises CgiRequestError."""
    separator = SEPARATOR.encode()
    if separator in request.body:
        raise BadRequestError(f"the body contains {SEPARATOR}, which this generation of guests cannot take")
    headers = join_headers(request.headers, generation.headers_in)
    rest = [text.replace(SEPARATOR, ",").encode() for text in (headers, request.uri, request.method)]
    return separator.join([request.body, *rest])


def read_text(result: bytes, generation: Generation) -> bytes:
    """Return the text that a guest gave as its result. Raises GuestError, CgiAnswerError."""
    if generation.lettered:
        return read_letter(result)
    _raise_error(result)
    return result


def read_response(result: bytes, generation: Generation) -> Response:
    """Return the HTTP response that a result stands for: also for an error of the guest. Raises CgiAnswerError."""
    if generation.lettered:
        try:
            return _decode_response(read_letter(result))
        except GuestError as error:
            return Response(500, (("Content-Type", "text/plain; charset=utf-8"),), str(error).encode())
    # The last mark: the body is not searched for it, and headers cannot have it.
    body, mark, headers = result.rpartition(_HEADERS)
    if not mark:
        body, headers = result, b""
    found = split_headers(headers, generation.headers_out)
    try:
        _raise_error(body)
    except GuestError as error:
        return _make_error(str(error), found)
    if not body.startswith(_BODY):
        raise BadAnswerError(f"its answer to an HTTP request starts with {body[:20]!r}, not with [BODY] or [ERR]")
    return Response(200, found, body.removeprefix(_BODY))


def put_answer(answer: bytes, generation: Generation) -> bytes:
    """Return what a function of the host answers."""
    return _SUCCESS + answer if generation.lettered else answer


def put_error(message: str, generation: Generation) -> bytes:
    """Return what a function of the host answers when it failed."""
    text = message.encode()
    return _FAILURE + text if generation.lettered else b"[ERR][0]:" + text


def read_letter(result: bytes) -> bytes:
    """Return what follows the letter S. Raises GuestError with what follows F, else CgiAnswerError."""
    letter, rest = result[:1], result[1:]
    if letter == _FAILURE:
        raise GuestError(rest.decode(errors="replace"))
    if letter != _SUCCESS:
        raise BadAnswerError(f"its answer starts with {letter!r}, not with S or F")
    return rest


def fill_empty(text: bytes) -> bytes:
    """Return a text that a guest passed, where it may have passed a word for an empty one."""
    return b"" if text == _EMPTY else text


class _RequestJson(msgspec.Struct):
    """A request as the fourth generation has it. Only names are in capitals."""

    body: str = msgspec.field(name="Body", default="")
    json: Any = msgspec.field(name="JSONBody", default=None)
    text: str = msgspec.field(name="TextBody", default="")
    uri: str = msgspec.field(name="URI", default="")
    method: str = msgspec.field(name="Method", default="GET")
    headers: str | dict[str, str] | None = msgspec.field(name="Headers", default="")


class _ResponseJson(msgspec.Struct):
    json: msgspec.Raw = msgspec.field(name="JSONBody", default=msgspec.Raw(b"{}"))
    text: str = msgspec.field(name="TextBody", default="")
    headers: dict[str, str | list[str]] | None = msgspec.field(name="Headers", default=None)
    status: int = msgspec.field(name="StatusCode", default=200)


def write_request(request: Request) -> bytes:
    """Return a request as JSON, its headers as a text of pairs. Bytes that are not UTF-8 cannot be passed."""
    try:
        body = request.body.decode()
    except UnicodeDecodeError:
        raise BadRequestError("the body is not UTF-8, which this generation of guests cannot take") from None
    pairs = [f"{_quote(name)}:{_quote(value)}" for name, value in request.headers]
    return msgspec.json.encode(_RequestJson(body, None, body, request.uri, request.method, ",".join(pairs)))


def read_outgoing(text: bytes) -> Request:
    """Return the HTTP request that a guest wants to be sent. Raises CgiRequestError."""
    try:
        found = msgspec.json.decode(text, type=_RequestJson)
        headers = found.headers if isinstance(found.headers, dict) else _parse_pairs(found.headers or "")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequestError(f"the request is not the JSON that it should be: {error}") from None
    body = (found.text or found.body).encode()
    if not body and found.json not in (None, {}, ""):
        body = msgspec.json.encode(found.json)
    return Request(found.method.upper(), found.uri, tuple(headers.items()), body)


def write_incoming(response: Response) -> bytes:
    """Return a response as JSON for the guest that sent the request."""
    headers: dict[str, list[str]] = {}
    for name, value in response.headers:
        headers.setdefault(name, []).append(value)
    answer: dict[str, Any] = {"Headers": headers, "StatusCode": response.status}
    text = response.body.decode(errors="replace")
    if _MIME_JSON in response.find_header("content-type").lower() and _is_json(response.body):
        answer["JSONBody"] = msgspec.Raw(response.body)
    else:
        answer["TextBody"] = text
    return msgspec.json.encode(answer)


def _decode_response(text: bytes) -> Response:
    try:
        found = msgspec.json.decode(text, type=_ResponseJson)
        body = base64.b64decode(found.text, validate=True) if found.text else bytes(found.json)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadAnswerError(f"its answer to an HTTP request is not the JSON that it should be: {error}") from None
    try:
        check_status(found.status)
    except ValueError as error:
        raise BadAnswerError(f"its answer to an HTTP request is not right: {error}") from None
    headers = tuple(
        (name, value)
        for name, values in (found.headers or {}).items()
        for value in ([values] if isinstance(values, str) else values)
    )
    return Response(found.status, headers, body)


def _make_error(message: str, headers: Headers) -> Response:
    response = Response(500, headers, message.encode())
    if _MIME_JSON not in response.find_header("content-type").lower():
        return response
    return response._replace(body=msgspec.json.encode({"error": message, "from": "host"}))


def _raise_error(result: bytes) -> None:
    found = _ERROR.fullmatch(result)
    if found is None:
        return
    code, message = int(found[1][:18]), found[2].decode(errors="replace")
    raise GuestError(f"{message} ({code})" if code else message)


def _parse_pairs(text: str) -> dict[str, str]:
    braced = text if text.lstrip().startswith("{") else f"{{{text}}}"
    return msgspec.json.decode(braced, type=dict[str, str])


def _quote(text: str) -> str:
    return msgspec.json.encode(text).decode()


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
