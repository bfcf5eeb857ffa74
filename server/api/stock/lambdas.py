"""Lambdas: ``/lambda``."""

from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages import LambdaCreate, LambdaCreated, LambdaInfo, LambdaList
from piecework.protocol.secrets import mask_secrets
from server.api.stock.data import ViewQuery
from server.errors import BlobNotFound
from server.services import Services
from server.store.records import Lambda
from server.web.endpoint import endpoint
from server.web.paging import PageQuery, next_cursor


@endpoint("POST", "/lambda", scope="submit", body=LambdaCreate, reply=LambdaCreated)
def create(services: Services, body: LambdaCreate) -> LambdaCreated:
    """Create a lambda: a code blob with the runtime that it needs, and defaults for its jobs."""
    return LambdaCreated(id=Id(services.lambdas.create(body).id))


@endpoint("GET", "/lambda", scope="view", query=PageQuery, reply=LambdaList)
def list_all(services: Services, query: PageQuery) -> LambdaList:
    """List lambdas, newest first."""
    page, more = query.read(services.lambdas.list_page, services.settings.page_max)
    rows = [_full_info(services, each) for each in page]
    return LambdaList(lambdas=rows, next=next_cursor([each.id for each in page], more))


@endpoint("GET", "/lambda/<lambda>", scope=("view", "worker"), query=ViewQuery, reply=LambdaInfo)
def show(services: Services, id_: Id, query: ViewQuery) -> LambdaInfo:
    """Tell a lambda's codex and runtime; with `view=full` also its defaults."""
    found = services.lambdas.get(id_)
    if query.is_full:
        return _full_info(services, found)
    return LambdaInfo(id=Id(found.id), codex=Id(found.codex), runtime=found.runtime)


def _full_info(services: Services, found: Lambda) -> LambdaInfo:
    options = found.options
    info = LambdaInfo(
        id=Id(found.id),
        codex=Id(found.codex),
        runtime=found.runtime,
        name=found.name,
        created_at=found.created_at / 1000,
        tags=list(options.tags),
        args=list(options.args),
        env=mask_secrets(options.env),
        limits=options.limits,
        grants=options.grants,
        deterministic=options.deterministic,
        mode=options.mode,
    )
    try:
        codex = services.data.get(found.codex)
    except BlobNotFound:
        info.codex_checksum = UNSET
    else:
        info.codex_checksum, info.codex_size = codex.sha256.hex(), codex.size
    return info
