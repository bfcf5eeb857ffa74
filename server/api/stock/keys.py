"""Public keys that receipts are checked with: ``/keys``."""

from functools import partial

from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages import SigningKeyInfo, SigningKeyList
from piecework.server.services import Services
from piecework.server.store.stock.public_keys import SigningKeyRow
from piecework.server.web.endpoint import endpoint
from piecework.server.web.paging import PageQuery, next_cursor


class SigningKeyQuery(PageQuery, kw_only=True):
    """Which keys to list."""

    keyid: str | None = None
    """Only those that signatures name so."""


@endpoint("GET", "/keys", scope="view", query=SigningKeyQuery, reply=SigningKeyList)
def list_all(services: Services, query: SigningKeyQuery) -> SigningKeyList:
    """List the public keys of workers and servers, newest first; also those that were replaced."""
    list_page = partial(services.signing.list_page, query.keyid)
    page, more = query.read(list_page, services.settings.page_max)
    return SigningKeyList(keys=list(map(_tell, page)), next=next_cursor([each.id for each in page], more))


def _tell(row: SigningKeyRow) -> SigningKeyInfo:
    return SigningKeyInfo(
        keyid=row.keyid,
        owner=row.owner,
        id=Id(row.owner_id) if row.owner_id else UNSET,
        public_key=row.public_key,
        first_seen=row.first_seen / 1000,
        replaced_at=UNSET if row.replaced_at is None else row.replaced_at / 1000,
    )
