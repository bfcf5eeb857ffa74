"""Receipts of jobs: ``/job/{id}/receipt``."""

from piecework.protocol.ids import Id
from piecework.protocol.messages import ReceiptReply
from piecework.server.services import Services
from piecework.server.web.endpoint import endpoint


@endpoint("GET", "/job/<job>/receipt", scope="view", reply=ReceiptReply)
def show(services: Services, id_: Id) -> ReceiptReply:
    """Give the receipt of a job: what ran, what came out, signed by its worker and the server."""
    found = services.receipts.get(id_)
    return ReceiptReply(payload_type=found.payload_type, payload=found.payload, signatures=found.signatures)
