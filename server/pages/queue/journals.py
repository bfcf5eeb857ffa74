"""What a recorded job asked the outside, as its journal says."""

from itertools import islice

from flask import Response

from piecework.receipts.journals import READ_BYTES, JournalError, JournalReader
from piecework.server.errors import BlobNotFound
from piecework.server.pages.page import page, read_id, render
from piecework.server.services import Services

QUESTIONS_SHOWN = 200


@page("GET", "/jobs/<job>/journal")
def show(services: Services, job: str) -> Response:
    """Show what a job asked the outside, in its order. The answers are in the journal, which can be saved."""
    [view] = services.jobs.show([services.jobs.get(read_id(job, "job"))])
    blob_id = services.jobs.find_details(view).journal
    if blob_id is None:
        raise BlobNotFound(
            f"job {view.job.id} has no journal: a job of a recorded lambda has one when it has ended"
        )
    blob = services.data.get(blob_id)
    try:
        journal = JournalReader(services.data.read(blob, READ_BYTES) or b"")
        questions = list(islice(journal.list_questions(), QUESTIONS_SHOWN))
    except JournalError as error:
        raise BlobNotFound(f"the journal of job {view.job.id} cannot be shown: {error}") from error
    return render("journal.html", job=view.job.id, blob=blob, questions=questions, end=journal.end)
