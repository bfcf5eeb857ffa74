"""The one place where failures become answers: class of the error -> HTTP status."""

from typing import Any

import structlog
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from piecework.protocol.bodies import BodyError, MessageError
from piecework.protocol.codes import Code
from piecework.protocol.messages import ErrorReply
from server import errors
from server.api.capsule import PAGE_NOT_FOUND, capsule_response, name_error, speaks_capsule
from server.api.endpoint import message_response

log = structlog.get_logger("server")

HTTP_STATUS: dict[type[errors.ServerError], int] = {
    errors.ServerError: 400,
    errors.InvalidRequest: 422,
    errors.InvalidParameter: 400,
    errors.BodyBroken: 400,
    errors.BodyEncoded: 415,
    errors.BodyTooLarge: 413,
    errors.Busy: 429,
    errors.Stopping: 503,
    errors.StorageFull: 503,
    errors.DatabaseAway: 503,
    errors.SchemaMismatch: 500,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.BlobNotFound: 404,
    errors.UploadWithoutFile: 400,
    errors.UploadBroken: 400,
    errors.BlobInUse: 409,
    errors.LambdaNotFound: 404,
    errors.ModuleInvalid: 422,
    errors.ModuleNotFound: 404,
    errors.ModuleExists: 409,
    errors.ModuleInUse: 409,
    errors.NotWasm: 422,
    errors.WorkerNotFound: 404,
    errors.WorkerRetired: 404,
    errors.JobNotFound: 404,
    errors.LeaseLost: 409,
    errors.KeyConflict: 409,
    errors.BadTransition: 409,
    errors.FunctionNotFound: 404,
    errors.FunctionExists: 409,
    errors.RevisionNotFound: 404,
    errors.RevisionExists: 409,
    errors.UrlNotFound: 404,
    errors.RevisionInUse: 409,
}

RETRY_AFTER_S = {429: 2, 503: 2}


def register_error_answers(app: Flask) -> None:
    """Make every failure of a view a JSON or MessagePack answer."""
    app.register_error_handler(errors.ServerError, _answer_server_error)
    app.register_error_handler(BodyError, lambda error: _answer(400, Code.BAD_BODY, str(error)))
    app.register_error_handler(MessageError, lambda error: _answer(422, Code.INVALID, str(error)))
    app.register_error_handler(HTTPException, _answer_http_error)
    app.register_error_handler(Exception, _answer_bug)


def _answer(status: int, code: Code, message: str) -> Response:
    if speaks_capsule():
        response = capsule_response(name_error(code), message, status)
    else:
        response = message_response(ErrorReply(code=int(code), message=message), status)
    if status in RETRY_AFTER_S:
        response.headers["Retry-After"] = str(RETRY_AFTER_S[status])
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="piecework"'
    return response


def _answer_server_error(error: errors.ServerError) -> Response:
    status = HTTP_STATUS[type(error)]
    if status >= 500 and not error.is_logged and not isinstance(error, errors.Stopping):
        log.error("request failed", method=request.method, path=request.path, error=str(error))
    return _answer(status, error.code, str(error))


def _answer_http_error(error: HTTPException) -> Response:
    status = error.code or 500
    if speaks_capsule() and (isinstance(error, NotFound) or _can_only_be_deleted(error)):
        return message_response(PAGE_NOT_FOUND, 404)
    if isinstance(error, NotFound) and request.path == "/" and "text/html" in request.headers.get("Accept", ""):
        return Response(status=302, headers={"Location": "docs"})  # who opens the server's URL in a browser
    if isinstance(error, NotFound):
        return _answer(404, Code.NO_SUCH_PATH, f"there is nothing at {request.path}; /docs lists what there is")
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or []))
        return _answer(405, Code.METHOD_NOT_ALLOWED, f"{request.path} takes {allowed}, not {request.method}")
    return _answer(status, Code.ERROR, error.description or error.name)


def _can_only_be_deleted(error: HTTPException) -> bool:
    """Tell whether a path is none for people who read and write: Capsule had nothing there."""
    return isinstance(error, MethodNotAllowed) and set(error.valid_methods or ()) == {"DELETE"}


def _answer_bug(error: Exception) -> Any:
    log.error("bug", method=request.method, path=request.path, exc_info=error)
    return _answer(500, Code.INTERNAL, "the server made a mistake; its log has the details")
