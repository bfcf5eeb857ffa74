"""HTTP for commands, as CGI has it (RFC 3875): variables and input are the request, the output is the response."""

import re
from urllib.parse import unquote, urlsplit

from piecework.http.exchange import Headers, Request, Response, check_status

HEADERS_BYTES = 65_536
"""An answer's own headers end within these."""
_ANNOUNCED = re.compile(rb"(?i:status|content-type|location):")
"""How an answer begins that has headers of its own."""
_END = re.compile(rb"\r?\n\r?\n")
_SECRET = {"HTTP_PROXY"}
"""Never made from a header: programs take it for the address of a proxy."""


class CgiAnswerError(ValueError):
    """The output of a command is no answer to a request; the message says why."""


class CgiRequestError(ValueError):
    """The request cannot be put into variables; the message says why."""


def make_variables(request: Request, env: dict[str, str]) -> dict[str, str]:
    """Return the environment of a command that answers. No header can take the place of one of its own variables.

    Raises CgiRequestError for a request with zero bytes, which no variable can hold.
    """
    path, _, query = request.uri.partition("?")
    host = urlsplit(f"//{_find(request.headers, 'host')}")
    fixed = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": _find_name(host.netloc),
        "REQUEST_METHOD": request.method,
        "REQUEST_URI": request.uri,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(path, errors="replace"),
        "QUERY_STRING": query,
        "CONTENT_TYPE": _find(request.headers, "content-type"),
        "CONTENT_LENGTH": str(len(request.body)) if request.body else "",
    }
    variables = _name_headers(request.headers) | env | fixed
    if any("\0" in value for value in variables.values()):
        raise CgiRequestError("the request has a zero byte in its path or headers, which commands cannot take")
    return variables


def read_answer(output: bytes) -> Response:
    """Return the response that an output stands for: a body, or headers, an empty line and a body.

    Raises CgiAnswerError when it begins with headers and they are not right.
    """
    if not _ANNOUNCED.match(output):
        return Response(200, (("Content-Type", _guess_type(output)),), output)
    end = _END.search(output, 0, HEADERS_BYTES)
    if end is None:
        raise CgiAnswerError("its answer begins with headers, and no empty line ends them")
    headers, status = _read_headers(output[: end.start()])
    return Response(status, headers, output[end.end() :])


def _read_headers(text: bytes) -> tuple[Headers, int]:
    found: list[tuple[str, str]] = []
    status = 0
    for line in text.decode(errors="replace").split("\n"):  # nothing else ends a header: a value may have the rest
        name, colon, value = line.removesuffix("\r").partition(":")
        if not colon:
            raise CgiAnswerError(f"its answer begins with headers, and {line[:40]!r} is none")
        if name.lower() == "status":
            status = _read_status(value)
        else:
            found.append((name.strip(), value.strip()))
    usual = 302 if any(name.lower() == "location" for name, _ in found) else 200
    return tuple(found), status or usual


def _read_status(text: str) -> int:
    try:
        return check_status(int(text.split(maxsplit=1)[0]))
    except (ValueError, IndexError):
        raise CgiAnswerError(f"its answer has the status {text.strip()[:40]!r}") from None


def _name_headers(headers: Headers) -> dict[str, str]:
    """Return headers as variables. Where a name came with hyphens, one with underscores is no other spelling."""
    plain = {name.lower() for name, _ in headers if "_" not in name}
    named: dict[str, str] = {}
    for name, value in headers:
        if "_" in name and name.lower().replace("_", "-") in plain:
            continue
        variable = f"HTTP_{name.upper().replace('-', '_')}"
        named[variable] = f"{named[variable]}, {value}" if variable in named else value
    return {name: value for name, value in named.items() if name not in _SECRET}


def _find(headers: Headers, wanted: str) -> str:
    return next((value for name, value in headers if name.lower() == wanted), "")


def _find_name(netloc: str) -> str:
    """Return the host of an authority, without its port."""
    return netloc.rpartition(":")[0] if re.search(r":\d*$", netloc) else netloc


def _guess_type(output: bytes) -> str:
    try:
        output.decode()
    except UnicodeDecodeError:
        return "application/octet-stream"
    return "text/plain; charset=utf-8"
