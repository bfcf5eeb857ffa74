"""The one place where failures become answers: class of the error -> HTTP status."""

from collections.abc import Callable
from typing import NamedTuple

import structlog
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from piecework.protocol.bodies import BodyDecodeError, MessageError
from piecework.protocol.codes import Code
from piecework.protocol.messages import ErrorReply
from piecework.server import errors
from piecework.server.web.endpoint import current_services, message_response
from piecework.server.web.refusals import note_refused_request

log = structlog.get_logger("server")

HTTP_STATUS: dict[type[errors.ServerError], int] = {
    errors.ServerError: 400,
    errors.InvalidRequest: 422,
    errors.InvalidParameter: 400,
    errors.BodyBroken: 400,
    errors.BodyEncoded: 415,
    errors.BodyTooLarge: 413,
    errors.CapacityReached: 429,
    errors.QuotaReached: 429,
    errors.Stopping: 503,
    errors.StorageFull: 503,
    errors.DatabaseAway: 503,
    errors.BlobsAway: 503,
    errors.BlobsRefused: 503,
    errors.BlobDamaged: 500,
    errors.SchemaMismatch: 500,
    errors.MigrationRefused: 500,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.BlobNotFound: 404,
    errors.UploadWithoutFile: 400,
    errors.UploadBroken: 400,
    errors.BlobInUse: 409,
    errors.LambdaInUse: 409,
    errors.LambdaNotFound: 404,
    errors.ModuleInvalid: 422,
    errors.ModuleNotFound: 404,
    errors.ModuleExists: 409,
    errors.ModuleInUse: 409,
    errors.NotWasm: 422,
    errors.WorkerNotFound: 404,
    errors.WorkerRetired: 404,
    errors.WorkerUnfit: 409,
    errors.JobNotFound: 404,
    errors.ReceiptNotFound: 404,
    errors.LimitNotFound: 404,
    errors.GroupNotFound: 404,
    errors.GroupConflict: 409,
    errors.LeaseLost: 409,
    errors.KeyConflict: 409,
    errors.BadTransition: 409,
    errors.ScheduleNotFound: 404,
    errors.ScheduleExists: 409,
    errors.FeedGone: 410,
    errors.WebhookNotFound: 404,
    errors.WebhookExists: 409,
    errors.WebhookInUse: 409,
    errors.DeliveryNotFound: 404,
    errors.NamespaceNotFound: 404,
    errors.ValueNotFound: 404,
    errors.ValueDiffers: 409,
    errors.NotANumber: 409,
    errors.FunctionNotFound: 404,
    errors.FunctionExists: 409,
    errors.RevisionNotFound: 404,
    errors.RevisionExists: 409,
    errors.UrlNotFound: 404,
    errors.RevisionInUse: 409,
    errors.RecordedCallNotFound: 404,
}

RETRY_AFTER_S = {429: 2, 503: 2}


class ErrorAnswer(NamedTuple):
    """What is answered instead of a message."""

    status: int
    code: Code
    message: str


Dialect = Callable[[Exception, ErrorAnswer], Response | None]
"""Answers as clients of another system read it; None: this request's client is none."""


def register_error_answers(app: Flask, dialect: Dialect, start_page: str) -> None:
    """Make every failure of a view a JSON or MessagePack answer.

    ``start_page``: where browsers are led that open the server's URL.
    """

    def answer(error: Exception) -> Response:
        if isinstance(error, NotFound) and _wants_start_page():
            return Response(status=302, headers={"Location": start_page})
        note_refused_request(current_services(), error, request)
        failure = read_failure(error)
        response = dialect(error, failure) or _write(failure)
        if after_s := find_retry_after_s(error, response.status_code):
            response.headers["Retry-After"] = str(after_s)
        if response.status_code == 401:
            response.headers["WWW-Authenticate"] = 'Bearer realm="piecework"'
        return response

    app.register_error_handler(Exception, answer)


def find_retry_after_s(error: Exception, status: int) -> int | None:
    """Return after how many seconds to repeat a request that failed; None: not at all."""
    asked_s = error.retry_after_s if isinstance(error, errors.QuotaReached) else None
    return RETRY_AFTER_S.get(status) if asked_s is None else asked_s


def _wants_start_page() -> bool:
    """Tell whether somebody opens the server's URL in a browser."""
    return request.path == "/" and "text/html" in request.headers.get("Accept", "")


def _write(failure: ErrorAnswer) -> Response:
    return message_response(ErrorReply(code=int(failure.code), message=failure.message), failure.status)


def read_failure(error: Exception) -> ErrorAnswer:
    """Return what is answered instead of a message; a mistake of ours is logged."""
    match error:
        case errors.ServerError():
            return _read_server_error(error)
        case BodyDecodeError():
            return ErrorAnswer(400, Code.BAD_BODY, str(error))
        case MessageError():
            return ErrorAnswer(422, Code.INVALID, str(error))
        case HTTPException():
            return _read_http_error(error)
    log.error("bug", method=request.method, path=request.path, exc_info=error)
    return ErrorAnswer(500, Code.INTERNAL, "the server made a mistake; its log has the details")


def _read_http_error(error: HTTPException) -> ErrorAnswer:
    match error:
        case NotFound():
            message = f"there is nothing at {request.path}; /docs lists what there is"
            return ErrorAnswer(404, Code.NO_SUCH_PATH, message)
        case MethodNotAllowed():
            allowed = ", ".join(sorted(error.valid_methods or []))
            return ErrorAnswer(
                405, Code.METHOD_NOT_ALLOWED, f"{request.path} takes {allowed}, not {request.method}"
            )
    return ErrorAnswer(error.code or 500, Code.ERROR, error.description or error.name)


def _read_server_error(error: errors.ServerError) -> ErrorAnswer:
    status = HTTP_STATUS[type(error)]
    if status >= 500 and not error.is_logged and not isinstance(error, errors.Stopping):
        log.error("request failed", method=request.method, path=request.path, error=str(error))
    return ErrorAnswer(status, error.code, str(error))
