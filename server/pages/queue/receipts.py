"""The receipt of a job, as its page shows it and as a file."""

from typing import NamedTuple

from flask import Response

from piecework.receipts.envelope import read_receipt, write_envelope
from piecework.receipts.payload import ReceiptPayload
from piecework.server.errors import ReceiptNotFound
from piecework.server.pages.page import page, read_id
from piecework.server.pages.stock.blobs import as_file
from piecework.server.services import Services
from piecework.server.store.records import Job

OWNERS_MAX = 10


class ShownSignature(NamedTuple):
    """A signature of a receipt, which the server checked before it made its own."""

    keyid: str
    owner: str
    """``worker``, ``server`` or, of a key that is not known any more, empty."""
    worker: int
    """Of a worker's key: the worker; else 0."""


class ShownReceipt(NamedTuple):
    """A receipt as a page shows it."""

    payload: ReceiptPayload
    digests: list[tuple[str, str]]
    signatures: list[ShownSignature]


def find_receipt(services: Services, job: Job) -> ShownReceipt | None:
    """Return the receipt of a job; None when it has none."""
    if not job.state.is_final:
        return None
    try:
        envelope = services.receipts.get(job.id)
    except ReceiptNotFound:
        return None
    payload = read_receipt(envelope)
    subject, result = payload.claim.subject, payload.claim.result
    named = [
        ("code", subject.module),
        ("input", subject.input),
        ("arguments", subject.args),
        ("variables", subject.env),
        ("files", subject.files),
        ("inputs", subject.inputs),
        ("journal", subject.journal),
        ("output", result.output),
        ("files that it gave back", result.made),
        ("memory", result.memory),
    ]
    signatures = [
        _find_owner(services, each.keyid, worker=n == 0, job=job) for n, each in enumerate(envelope.signatures)
    ]
    return ShownReceipt(payload, [(what, digest) for what, digest in named if digest], signatures)


def _find_owner(services: Services, keyid: str, *, worker: bool, job: Job) -> ShownSignature:
    wanted = ("worker", job.worker_id) if worker else ("server", 0)
    found = services.signing.list_page(keyid, before=2**63 - 1, limit=OWNERS_MAX)
    key = next((each for each in found if (each.owner, each.owner_id) == wanted), None)
    return ShownSignature(keyid, key.owner if key else "", key.owner_id if key else 0)


@page("GET", "/jobs/<job>/receipt")
def save_receipt(services: Services, job: str) -> Response:
    """Give the receipt of a job, to be saved."""
    id_ = read_id(job, "job")
    data = write_envelope(services.receipts.get(id_))
    return as_file(Response(data, content_type="application/json"), f"job-{id_}-receipt.json")
