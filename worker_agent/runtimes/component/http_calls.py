"""``wasi:http``: the functions that a component finds there."""

from collections.abc import Callable
from typing import Any

from piecework.worker_agent.runtimes.component.guest import ComponentGuest, FailureError, HostFunction, Interface
from piecework.worker_agent.runtimes.component.http_types import (
    FIELDS,
    FUTURE,
    IN_BODY,
    IN_REQUEST,
    IN_RESPONSE,
    METHODS,
    OPTIONS,
    OUT_BODY,
    OUT_REQUEST,
    OUT_RESPONSE,
    OUTPARAM,
    TRAILERS,
    Fields,
    InBody,
    Options,
    OutBody,
    Outparam,
    OutRequest,
    OutResponse,
    SentBody,
    check_method,
    check_target,
    clone,
    from_list,
    make_fields,
)
from piecework.worker_agent.runtimes.component.io_calls import (
    ERROR,
    INPUT_STREAM,
    OUTPUT_STREAM,
    POLLABLE,
    IoError,
    Pollable,
)
from piecework.worker_agent.runtimes.component.outgoing import finish, handle
from piecework.worker_agent.runtimes.component.values import (
    BOOL,
    BYTES,
    STRING,
    U8,
    U16,
    U32,
    U64,
    Borrow,
    Err,
    ListOf,
    Ok,
    OptionOf,
    Own,
    Record,
    ResultOf,
    TupleOf,
    Type,
    Variant,
)
from piecework.worker_agent.runtimes.services import ANSWER_BYTES

METHOD = Variant(dict.fromkeys(METHODS) | {"other": STRING})
SCHEME = Variant({"HTTP": None, "HTTPS": None, "other": STRING})
HEADER_ERROR = Variant(dict.fromkeys(("invalid-syntax", "forbidden", "immutable")))
_field_size = Record(field_name=OptionOf(STRING), field_size=OptionOf(U32))
_payloads: dict[str, Type] = {
    "DNS-error": Record(rcode=OptionOf(STRING), info_code=OptionOf(U16)),
    "TLS-alert-received": Record(alert_id=OptionOf(U8), alert_message=OptionOf(STRING)),
    "HTTP-request-body-size": OptionOf(U64),
    "HTTP-request-header-section-size": OptionOf(U32),
    "HTTP-request-header-size": OptionOf(_field_size),
    "HTTP-request-trailer-section-size": OptionOf(U32),
    "HTTP-request-trailer-size": _field_size,
    "HTTP-response-header-section-size": OptionOf(U32),
    "HTTP-response-header-size": _field_size,
    "HTTP-response-body-size": OptionOf(U64),
    "HTTP-response-trailer-section-size": OptionOf(U32),
    "HTTP-response-trailer-size": _field_size,
    "HTTP-response-transfer-coding": OptionOf(STRING),
    "HTTP-response-content-coding": OptionOf(STRING),
    "internal-error": OptionOf(STRING),
}
_PLAIN_ERRORS = (
    "DNS-timeout", "destination-not-found", "destination-unavailable", "destination-IP-prohibited",
    "destination-IP-unroutable", "connection-refused", "connection-terminated", "connection-timeout",
    "connection-read-timeout", "connection-write-timeout", "connection-limit-reached", "TLS-protocol-error",
    "TLS-certificate-error", "HTTP-request-denied", "HTTP-request-length-required", "HTTP-request-method-invalid",
    "HTTP-request-URI-invalid", "HTTP-request-URI-too-long", "HTTP-response-incomplete", "HTTP-response-timeout",
    "HTTP-upgrade-failed", "HTTP-protocol-error", "loop-detected", "configuration-error",
)  # fmt: skip
SENT_BYTES = 4 * ANSWER_BYTES
"""The bodies of requests that a guest holds have so much together."""
ERROR_CODE = Variant(dict.fromkeys(_PLAIN_ERRORS) | _payloads)


class Trailers(Pollable):
    """Those of a body that came: there are none, at once."""

    taken = False

    def get(self) -> Ok | Err:
        """Return them, once."""
        if self.taken:
            return Err()
        self.taken = True
        return Ok(Ok(None))


def set_response(_guest: ComponentGuest, outparam: Outparam, given: Ok | Err) -> None:
    if isinstance(given, Ok):
        outparam.response = given.value
        # Without a body of its own it is whole.
        outparam.response.content.finished |= not outparam.response.taken
    else:
        outparam.failure = given.value


def set_status(_guest: ComponentGuest, response: OutResponse, status: int) -> None:
    if not 100 <= status <= 599:
        raise FailureError
    response.status = status


def make_response(guest: ComponentGuest, headers: Fields) -> OutResponse:
    return OutResponse(headers, OutBody(guest.responses, guest.call.bounds.output_bytes))


def make_request(guest: ComponentGuest, headers: Fields) -> OutRequest:
    return OutRequest(headers, SentBody(guest.sent, SENT_BYTES))


def set_scheme(_guest: ComponentGuest, request: OutRequest, scheme: tuple[str, Any] | None) -> None:
    if scheme is not None and scheme[0] == "other":
        raise FailureError
    request.scheme = scheme


def set_method(_guest: ComponentGuest, request: OutRequest, method: tuple[str, Any]) -> None:
    request.method = check_method(method)


def set_path(_guest: ComponentGuest, request: OutRequest, path: str | None) -> None:
    request.path = check_target(path)


def set_authority(_guest: ComponentGuest, request: OutRequest, authority: str | None) -> None:
    if authority is not None and ("/" in authority or "@" in authority):
        raise FailureError
    request.authority = check_target(authority)


def find_error_code(_guest: ComponentGuest, error: IoError) -> Any:
    return error.code if isinstance(error.code, tuple) else None


def _do(act: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function of the host of one that does without the guest."""
    return lambda _guest, *arguments: act(*arguments)


def _get(name: str) -> Callable[..., Any]:
    return lambda _guest, thing: getattr(thing, name)


_F, _HEADER = Borrow(FIELDS), ResultOf(None, HEADER_ERROR)
_REQUEST, _OUT, _SET = Borrow(IN_REQUEST), Borrow(OUT_REQUEST), ResultOf()
_ANSWER, _RESPONSE, _OPTIONS = Borrow(IN_RESPONSE), Borrow(OUT_RESPONSE), Borrow(OPTIONS)
_ENTRIES = ListOf(TupleOf(STRING, BYTES))
_HEADERS, _CONSUMED, _WRITTEN = Own(FIELDS), ResultOf(Own(IN_BODY)), ResultOf(Own(OUT_BODY))
_TIMES = ("connect-timeout", "first-byte-timeout", "between-bytes-timeout")


def _of_options() -> dict[str, HostFunction]:
    functions = {"[constructor]request-options": HostFunction([], Own(OPTIONS), lambda _guest: Options())}
    for name in _TIMES:
        functions[f"[method]request-options.{name}"] = HostFunction(
            [_OPTIONS], OptionOf(U64), lambda _guest, options, name=name: options.times.get(name)
        )
        functions[f"[method]request-options.set-{name}"] = HostFunction(
            [_OPTIONS, OptionOf(U64)],
            _SET,
            lambda _guest, options, time_ns, name=name: options.times.update({name: time_ns}),
        )
    return functions


_OF_FIELDS = {
    "[constructor]fields": HostFunction([], Own(FIELDS), make_fields),
    "[static]fields.from-list": HostFunction([_ENTRIES], ResultOf(Own(FIELDS), HEADER_ERROR), from_list),
    "[method]fields.get": HostFunction([_F, STRING], ListOf(BYTES), _do(Fields.find)),
    "[method]fields.has": HostFunction([_F, STRING], BOOL, lambda _guest, fields, name: bool(fields.find(name))),
    "[method]fields.set": HostFunction([_F, STRING, ListOf(BYTES)], _HEADER, _do(Fields.replace)),
    "[method]fields.delete": HostFunction([_F, STRING], _HEADER, _do(Fields.remove)),
    "[method]fields.append": HostFunction(
        [_F, STRING, BYTES], _HEADER, lambda _guest, fields, name, value: fields.add(name, [value])
    ),
    "[method]fields.entries": HostFunction([_F], _ENTRIES, _get("entries")),
    "[method]fields.clone": HostFunction([_F], Own(FIELDS), clone),
}
_OF_INCOMING = {
    "[method]incoming-request.method": HostFunction([_REQUEST], METHOD, _get("method")),
    "[method]incoming-request.path-with-query": HostFunction([_REQUEST], OptionOf(STRING), _get("path")),
    "[method]incoming-request.scheme": HostFunction([_REQUEST], OptionOf(SCHEME), lambda *_: ("HTTP", None)),
    "[method]incoming-request.authority": HostFunction([_REQUEST], OptionOf(STRING), _get("authority")),
    "[method]incoming-request.headers": HostFunction([_REQUEST], _HEADERS, _get("headers")),
    "[method]incoming-request.consume": HostFunction([_REQUEST], _CONSUMED, lambda _guest, it: it.consume()),
    "[method]incoming-response.status": HostFunction([_ANSWER], U16, _get("status")),
    "[method]incoming-response.headers": HostFunction([_ANSWER], _HEADERS, _get("headers")),
    "[method]incoming-response.consume": HostFunction([_ANSWER], _CONSUMED, lambda _guest, it: it.consume()),
    "[method]incoming-body.stream": HostFunction(
        [Borrow(IN_BODY)], ResultOf(Own(INPUT_STREAM)), _do(InBody.take_stream)
    ),
    "[static]incoming-body.finish": HostFunction([Own(IN_BODY)], Own(TRAILERS), lambda *_: Trailers()),
    "[method]future-trailers.subscribe": HostFunction([Borrow(TRAILERS)], Own(POLLABLE), lambda *_: Pollable()),
    "[method]future-trailers.get": HostFunction(
        [Borrow(TRAILERS)], OptionOf(ResultOf(ResultOf(OptionOf(Own(FIELDS)), ERROR_CODE))), _do(Trailers.get)
    ),
    "[method]future-incoming-response.subscribe": HostFunction(
        [Borrow(FUTURE)], Own(POLLABLE), lambda _guest, future: Watch(future)
    ),
    "[method]future-incoming-response.get": HostFunction(
        [Borrow(FUTURE)],
        OptionOf(ResultOf(ResultOf(Own(IN_RESPONSE), ERROR_CODE))),
        lambda _guest, future: future.get(),
    ),
}
_OF_OUTGOING = {
    "[constructor]outgoing-request": HostFunction([Own(FIELDS)], Own(OUT_REQUEST), make_request),
    "[method]outgoing-request.body": HostFunction([_OUT], _WRITTEN, lambda _guest, it: it.take_body()),
    "[method]outgoing-request.method": HostFunction([_OUT], METHOD, _get("method")),
    "[method]outgoing-request.set-method": HostFunction([_OUT, METHOD], _SET, set_method),
    "[method]outgoing-request.path-with-query": HostFunction([_OUT], OptionOf(STRING), _get("path")),
    "[method]outgoing-request.set-path-with-query": HostFunction([_OUT, OptionOf(STRING)], _SET, set_path),
    "[method]outgoing-request.scheme": HostFunction([_OUT], OptionOf(SCHEME), _get("scheme")),
    "[method]outgoing-request.set-scheme": HostFunction([_OUT, OptionOf(SCHEME)], _SET, set_scheme),
    "[method]outgoing-request.authority": HostFunction([_OUT], OptionOf(STRING), _get("authority")),
    "[method]outgoing-request.set-authority": HostFunction([_OUT, OptionOf(STRING)], _SET, set_authority),
    "[method]outgoing-request.headers": HostFunction([_OUT], _HEADERS, _get("headers")),
    "[constructor]outgoing-response": HostFunction([Own(FIELDS)], Own(OUT_RESPONSE), make_response),
    "[method]outgoing-response.status-code": HostFunction([_RESPONSE], U16, _get("status")),
    "[method]outgoing-response.set-status-code": HostFunction([_RESPONSE, U16], _SET, set_status),
    "[method]outgoing-response.headers": HostFunction([_RESPONSE], _HEADERS, _get("headers")),
    "[method]outgoing-response.body": HostFunction([_RESPONSE], _WRITTEN, lambda _guest, it: it.take_body()),
    "[method]outgoing-body.write": HostFunction(
        [Borrow(OUT_BODY)], ResultOf(Own(OUTPUT_STREAM)), lambda _guest, body: body.take_stream()
    ),
    "[static]outgoing-body.finish": HostFunction(
        [Own(OUT_BODY), OptionOf(Own(FIELDS))], ResultOf(None, ERROR_CODE), finish
    ),
    "[static]response-outparam.set": HostFunction(
        [Own(OUTPARAM), ResultOf(Own(OUT_RESPONSE), ERROR_CODE)], None, set_response
    ),
}


class Watch(Pollable):
    """Waits for an answer, which has a life of its own."""

    def __init__(self, future: Pollable) -> None:
        self._future = future

    def is_ready(self, guest: ComponentGuest) -> bool:
        return self._future.is_ready(guest)

    def describe(self) -> str | None:
        return self._future.describe()


INTERFACES = {
    "wasi:http/types": Interface(
        _OF_FIELDS
        | _OF_INCOMING
        | _OF_OUTGOING
        | _of_options()
        | {"http-error-code": HostFunction([Borrow(ERROR)], OptionOf(ERROR_CODE), find_error_code)},
        {
            "fields": FIELDS,
            "incoming-request": IN_REQUEST,
            "outgoing-request": OUT_REQUEST,
            "request-options": OPTIONS,
            "response-outparam": OUTPARAM,
            "incoming-response": IN_RESPONSE,
            "incoming-body": IN_BODY,
            "future-trailers": TRAILERS,
            "outgoing-response": OUT_RESPONSE,
            "outgoing-body": OUT_BODY,
            "future-incoming-response": FUTURE,
        },
    ),
    "wasi:http/outgoing-handler": Interface(
        {
            "handle": HostFunction(
                [Own(OUT_REQUEST), OptionOf(Own(OPTIONS))], ResultOf(Own(FUTURE), ERROR_CODE), handle
            )
        }
    ),
}
