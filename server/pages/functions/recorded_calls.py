"""Recorded calls of functions: a list, and one of them with its request and answer."""

from flask import Response

from piecework.receipts.errors import ReceiptError
from piecework.receipts.recorded_calls import RecordedCall
from piecework.server.api.functions import recorded_calls as api
from piecework.server.errors import RecordedCallNotFound
from piecework.server.pages.lists import RowsQuery, older
from piecework.server.pages.page import ask, page, read_query, render
from piecework.server.pages.previews import Preview, show_bytes
from piecework.server.services import Services
from piecework.server.web.paging import PageQuery

QUESTIONS_SHOWN = 100
"""So many questions to the outside are shown."""
BODY_BYTES = 64 * 1024
"""So much of a body is shown."""


@page("GET", "/functions/<function>/<revision>/calls")
def list_all(_services: Services, function: str, revision: str) -> Response:
    """List the recorded calls of a revision, newest first."""
    asked = read_query(RowsQuery)
    query = PageQuery(limit=asked.limit, cursor=asked.cursor)
    found = ask(api.list_all, function, revision, query=query)
    return render(
        "function_calls.html", function=function, revision=revision, calls=found.calls, more=older(found)
    )


@page("GET", "/functions/<function>/<revision>/calls/<call>")
def show(_services: Services, function: str, revision: str, call: str) -> Response:
    """Show a recorded call."""
    found = ask(api.show, function, revision, call)
    try:
        kept = RecordedCall.read_from(found.call)
        wanted, response, questions = kept.request, kept.response, kept.list_questions()[:QUESTIONS_SHOWN]
    except ReceiptError as error:
        raise RecordedCallNotFound(f"call {call} cannot be shown: {error}") from error
    return render(
        "function_call.html",
        function=function,
        revision=revision,
        info=found.info,
        request=wanted,
        asked=_preview(wanted.body),
        response=response,
        questions=questions,
        answered=None if response is None else _preview(response.body),
    )


def _preview(body: bytes) -> Preview:
    found = show_bytes(body[:BODY_BYTES], len(body))
    return show_bytes(body[:BODY_BYTES], len(body), wanted="hex") if found.form == "image" else found
