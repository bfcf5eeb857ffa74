"""Lambdas: creating them and looking them up."""

from collections.abc import Iterable, Sequence
from functools import partial

import msgspec

from piecework.modules import CHECKED, ModuleError, check_code, check_room, claims_component
from piecework.protocol.ids import ID_MAX, NO_ID
from piecework.protocol.matching import RuntimeName
from piecework.protocol.messages import LambdaCreate, Limits, given
from server.errors import BlobNotFound, InvalidRequest, LambdaNotFound, ModuleInvalid
from server.services.core import Core
from server.services.stock.data import Data
from server.services.stock.grants import check_grants, check_reading_only
from server.store.records import Lambda, LambdaOptions
from server.store.stock import lambdas

CACHED = 10_000
RUNTIME_LENGTH = 200
TAGS_MAX = 50
TAG_LENGTH = 100
CODEX_MAX_BYTES = 256 * 1024 * 1024


class Lambdas:
    """The lambdas of this server. They never change, so they are kept in memory once they were read."""

    def __init__(self, core: Core, data: Data) -> None:
        self._database, self._ids, self._clock = core.database, core.ids, core.clock
        self._data = data
        self._memory_bytes = core.settings.memory_bytes
        self._known: dict[int, Lambda] = {}
        self._codices: dict[int, tuple[bytes, int]] = {}

    def create(self, request: LambdaCreate) -> Lambda:
        """Store a lambda. A codex that names no blob is accepted: older clients make such ids up.

        Raises InvalidRequest for a missing field, and ModuleInvalid for a codex that can never run, or begins with
        more memory than its jobs get.
        """
        new = self.prepare(request)
        self._database.write(partial(lambdas.add_lambda, new=new))
        return new

    def prepare(self, request: LambdaCreate) -> Lambda:
        """Return a lambda that the caller's transaction stores. Raises as ``create`` does."""
        codex = given(request.codex)
        if codex is None:
            raise InvalidRequest('a lambda needs `codex`: the id of the blob with its code, or "0" for none')
        if not request.runtime.strip() or len(request.runtime) > RUNTIME_LENGTH:
            raise InvalidRequest(f"a lambda needs `runtime`: a name of at most {RUNTIME_LENGTH} characters")
        check_limits(request.limits)
        check_grants(request.grants)
        check_tags(request.tags or ())
        options = LambdaOptions(
            tags=tuple(request.tags or ()),
            args=tuple(request.args or ()),
            env=request.env or {},
            limits=request.limits,
            grants=request.grants,
            deterministic=request.deterministic,
            mode=request.mode,
        )
        name = request.name if isinstance(request.name, str) else None
        new = Lambda(self._ids.next(), codex, request.runtime.strip(), name, options, self._clock())
        self._check_codex(new)
        return new

    def _check_codex(self, new: Lambda) -> None:
        """Refuse code that no node could run, or give what it asks for. Raises ModuleInvalid, InvalidRequest."""
        runtime = RuntimeName.parse(new.runtime).base
        if runtime not in CHECKED or new.codex == NO_ID:
            return
        try:
            blob = self._data.get(new.codex)
        except BlobNotFound:
            return
        if blob.size > CODEX_MAX_BYTES:
            raise ModuleInvalid(f"the codex has {blob.size} bytes; a module has at most {CODEX_MAX_BYTES}")
        try:
            with self._data.viewing(blob) as code:
                facts = check_code(runtime, code)
                if facts is not None:
                    check_room(facts, new.options.limits.memory_bytes or self._memory_bytes)
                if claims_component(code):
                    check_reading_only(new.options.grants)
        except ModuleError as error:
            raise ModuleInvalid(f"codex {new.codex} cannot run under {new.runtime}: {error}") from error

    def get(self, id_: int) -> Lambda:
        """Return a lambda. Raises LambdaNotFound."""
        return self.get_many({id_})[id_]

    def get_many(self, ids: Iterable[int]) -> dict[int, Lambda]:
        """Return lambdas by id. Raises LambdaNotFound when one does not exist."""
        wanted, cached = set(ids), self._known
        known = {id_: cached[id_] for id_ in wanted if id_ in cached}
        missing = wanted - known.keys()
        if missing:
            with self._database.read() as connection:
                found = lambdas.find_lambdas(connection, missing)
            if len(found) < len(missing):
                raise LambdaNotFound(f"there is no lambda {min(missing - found.keys())}")
            if len(self._known) > CACHED:
                self._known = {}
            self._known.update(found)
            known.update(found)
        return known

    def find_codices(self, codices: Iterable[int]) -> dict[int, tuple[bytes, int]]:
        """Return (SHA-256, size) of those of the lambdas' codices that exist, by id.

        They are kept in memory as well: the codex of a lambda cannot be deleted.
        """
        wanted, cached = set(codices), self._codices
        known = {id_: cached[id_] for id_ in wanted if id_ in cached}
        if missing := wanted - known.keys():
            found = self._data.find_digests(missing)
            if len(self._codices) > CACHED:
                self._codices = {}
            self._codices.update(found)
            known.update(found)
        return known

    def list_page(self, *, before: int, limit: int) -> list[Lambda]:
        """Return lambdas that are older than ``before``, newest first."""
        with self._database.read() as connection:
            return lambdas.list_lambdas(connection, before=before, limit=limit)


def check_tags(tags: Sequence[str]) -> None:
    """Raise InvalidRequest unless a job can have all these tags."""
    if len(tags) > TAGS_MAX or any(not 0 < len(tag) <= TAG_LENGTH for tag in tags):
        raise InvalidRequest(f"a job has at most {TAGS_MAX} tags, each of 1 to {TAG_LENGTH} characters")


def check_limits(limits: Limits) -> None:
    """Raise InvalidRequest unless every limit that is given is above zero, and can be stored."""
    for name, value in msgspec.structs.asdict(limits).items():
        if value is not None and not 0 < value < ID_MAX:
            bound = "above 0" if value <= 0 else f"below {ID_MAX}"
            raise InvalidRequest(f"limits.{name} is {value}, but must be {bound}")
