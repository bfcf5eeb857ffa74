"""Lambdas: creating them and looking them up."""

import re
from collections.abc import Iterable, Sequence
from functools import partial

import msgspec
from msgspec import UnsetType

from piecework.modules import CHECKED, ModuleError, check_code, check_room
from piecework.protocol.bodies import encode
from piecework.protocol.ids import ID_MAX, NO_ID, Id
from piecework.protocol.kv_grants import KvGrant
from piecework.protocol.matching import RECEIPTS_TAG, RuntimeName
from piecework.protocol.messages import GateEvidence, Grants, LambdaCreate, Limits, Maybe, given
from piecework.protocol.names import LAMBDA_NAME_RULE, LambdaName, LambdaRef, is_lambda_name
from piecework.protocol.retention import Retain, retain_ms
from piecework.server.errors import BlobNotFound, InvalidRequest, LambdaNotFound, ModuleInvalid
from piecework.server.services.core import Core
from piecework.server.services.stock.data import Data
from piecework.server.services.stock.grants import check_grants
from piecework.server.services.stock.keys import read_keys
from piecework.server.services.stock.namespaces import not_found
from piecework.server.services.stock.outputs import check_has_folders, read_outputs
from piecework.server.store.engine.database import Connection
from piecework.server.store.options import LambdaOptions
from piecework.server.store.records import Lambda
from piecework.server.store.stock import blobs, lambdas
from piecework.server.store.stock.namespaces import namespaces

CACHED = 10_000
SHARED_MS = 10_000
"""How long lambdas are kept in memory that other servers may delete."""
RUNTIME_LENGTH = 200
TAGS_MAX = 50
TAG_LENGTH = 100
NAME_SHOWN = 100
LIKE_MAX = 1000
"""So many lambdas of the same code are looked through for one that is like a new one."""
MEANT_MAX = 1000
"""Lambdas that one name stands for, the newest of them."""
SOURCE = re.compile(r"oci://[!-~]+@sha256:[0-9a-f]{64}")
SOURCE_MAX = 500
CODEX_MAX_BYTES = 256 * 1024 * 1024


class Lambdas:
    """The lambdas of this server. They never change, so they are kept in memory."""

    def __init__(self, core: Core, data: Data) -> None:
        self._database, self._ids, self._clock = core.database, core.ids, core.clock
        self._data = data
        self._memory_bytes = core.settings.memory_bytes
        self._known: dict[int, Lambda] = {}
        self._read_at = 0
        self._codices: dict[int, tuple[bytes, int]] = {}

    def create(self, request: LambdaCreate) -> Lambda:
        """Store a lambda, or return one that is the same where the request allows it.

        A codex that names no blob is accepted: older clients make such ids up. Raises InvalidRequest for a missing
        field, BlobNotFound for a checksum that no lambda's code has, and ModuleInvalid for a codex that can never
        run, or begins with more memory than its jobs get.
        """
        if isinstance(request.name, str) and not is_lambda_name(request.name):
            raise InvalidRequest(f"the name is {request.name[:200]!r}: {LAMBDA_NAME_RULE}")
        new = self._draft(request)
        if request.reuse and (same := self._find_same(new)):
            return same
        self._check_codex(new)
        self._database.write(partial(store_lambda, new=new))
        return new

    def prepare(self, request: LambdaCreate) -> Lambda:
        """Return a lambda that the caller's transaction stores. Raises as ``create`` does."""
        new = self._draft(request)
        self._check_codex(new)
        return new

    def _draft(self, request: LambdaCreate) -> Lambda:
        codex = self._find_codex(request)
        if codex is None:
            raise InvalidRequest('a lambda needs `codex`: the id of the blob with its code, or "0" for none')
        if not request.runtime.strip() or len(request.runtime) > RUNTIME_LENGTH:
            raise InvalidRequest(f"a lambda needs `runtime`: a name of at most {RUNTIME_LENGTH} characters")
        check_limits(request.limits)
        check_grants(request.grants)
        self._check_namespaces(request.grants)
        check_tags(request.tags or ())
        if request.deterministic and request.record is True:
            raise InvalidRequest(
                "a lambda has one of `deterministic`, which keeps everything from outside away, and `record`, "
                "which writes it down"
            )
        if given(request.receipts) and not (request.deterministic or request.record is True):
            raise InvalidRequest(
                "`receipts` needs `deterministic` or `record`: only what can be repeated has receipts"
            )
        if given(request.outputs):
            check_has_folders(request.runtime)
        if given(request.memo):
            _check_memo(request)
        if given(request.verify):
            _check_verify(request)
        options = LambdaOptions(
            tags=(*(request.tags or ()), *((f"+{RECEIPTS_TAG}",) if given(request.receipts) else ())),
            args=tuple(request.args or ()),
            env=request.env or {},
            limits=request.limits,
            grants=request.grants,
            ok_codes=read_ok_codes(request.ok_codes) or (),
            deterministic=request.deterministic,
            record=request.record is True,
            mode=request.mode,
            outputs=read_outputs(request.outputs) or (),
            retain_ms=read_retention(request.retain_s),
            keys=read_keys(request),
            verify=given(request.verify),
            memo=bool(given(request.memo)),
            receipts=bool(given(request.receipts)),
            source=_read_source(given(request.source)),
            gate=_write_gate(given(request.gate)),
        )
        name = request.name if isinstance(request.name, str) else None
        sha256, _ = self._data.find_digests([codex]).get(codex, (None, 0))
        _check_gate(given(request.gate), sha256)
        return Lambda(self._ids.next(), codex, request.runtime.strip(), name, options, self._clock(), sha256)

    def _check_namespaces(self, grants: Grants) -> None:
        """Raise NamespaceNotFound unless all that are granted are there."""
        if grants.kv:
            with self._database.read() as connection:
                for granted in map(KvGrant.parse, grants.kv):
                    if namespaces.find_namespace(connection, granted.namespace) is None:
                        raise not_found(granted.namespace)

    def _find_codex(self, request: LambdaCreate) -> Id | None:
        """Return the blob with a new lambda's code. Raises InvalidRequest and BlobNotFound."""
        codex, checksum = given(request.codex), given(request.codex_checksum)
        if checksum is None:
            return codex
        if codex is not None:
            raise InvalidRequest("a lambda has one of `codex` and `codex_checksum`")
        try:
            sha256 = bytes.fromhex(checksum)
        except ValueError as error:
            raise InvalidRequest("codex_checksum is no SHA-256 in hex") from error
        with self._database.read() as connection:
            found = lambdas.find_by_code(connection, sha256, limit=1)
        if not found:
            raise BlobNotFound(f"no lambda has code with the checksum {checksum[:64]}: upload it, and give its id")
        return Id(found[0].codex)

    def _find_same(self, new: Lambda) -> Lambda | None:
        """Return a lambda that is like a new one, but for its id; of those with a name the newest alone counts."""
        if new.codex_sha256 is None:
            return None
        with self._database.read() as connection:
            if new.name is None:
                found = lambdas.find_by_code(connection, new.codex_sha256, limit=LIKE_MAX)
            else:
                found = lambdas.list_lambdas(connection, new.name, before=ID_MAX, limit=1)
        return next((each for each in found if _meaning(each) == _meaning(new)), None)

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
        except ModuleError as error:
            raise ModuleInvalid(f"codex {new.codex} cannot run under {new.runtime}: {error}") from error

    def get(self, id_: int) -> Lambda:
        """Return a lambda. Raises LambdaNotFound."""
        return self.get_many({id_})[id_]

    def get_many(self, ids: Iterable[int]) -> dict[int, Lambda]:
        """Return lambdas by id. Raises LambdaNotFound when one does not exist."""
        if self._database.is_shared and not 0 <= self._clock() - self._read_at < SHARED_MS:
            self._known, self._read_at = {}, self._clock()  # another server may have deleted some
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

    def resolve(self, ref: LambdaRef) -> Lambda:
        """Return the lambda that a request names. Raises as ``resolve_many`` does."""
        return self.resolve_many([ref])[ref]

    def resolve_many(self, refs: Iterable[LambdaRef]) -> dict[LambdaRef, Lambda]:
        """Return the lambdas that a request names: by ids, or by names as they stand now.

        What a name means is not remembered: any server may make a newer lambda at any time. Raises InvalidRequest
        and LambdaNotFound.
        """
        named = {ref: read_lambda_ref(ref) for ref in refs}
        known = self._get_kept(each for each in named.values() if isinstance(each, Id))
        return {
            ref: known[each] if isinstance(each, Id) else self._find_named(each) for ref, each in named.items()
        }

    def _get_kept(self, ids: Iterable[int]) -> dict[int, Lambda]:
        """Do what ``get_many`` does; a lambda that was deleted is not there."""
        found = self.get_many(ids)
        if gone := [each.id for each in found.values() if each.deleted_at is not None]:
            raise LambdaNotFound(f"lambda {min(gone)} was deleted")
        return found

    def forget(self, id_: int) -> None:
        """Read a lambda anew when it is asked for next: it was deleted."""
        self._known.pop(id_, None)

    def select(self, ref: LambdaRef) -> int | str:
        """Return what jobs are looked for by: the id of a lambda, or a name, whose lambdas are all meant.

        Raises InvalidRequest, and LambdaNotFound for a name that no lambda has.
        """
        named = read_lambda_ref(ref)
        if isinstance(named, Id):
            return named
        found = self._find_named(named)
        return named.name if named.id is None else found.id

    def list_meant(self, ref: LambdaRef) -> list[int]:
        """Return the ids of the lambdas that are meant, several for a name. Raises as ``select`` does."""
        selected = self.select(ref)
        if isinstance(selected, int):
            return [self.get(selected).id]
        return [each.id for each in self.list_page(selected, before=ID_MAX, limit=MEANT_MAX)]

    def _find_named(self, ref: LambdaName) -> Lambda:
        """Return the lambda of a name that is pinned, or the newest. Raises LambdaNotFound."""
        found = (
            self.list_page(ref.name, before=ID_MAX, limit=1)
            if ref.id is None
            else [*self._get_kept([ref.id]).values()]
        )
        if found and found[0].name == ref.name:
            return found[0]
        if not found:
            raise LambdaNotFound(f"there is no lambda named {ref.name[:NAME_SHOWN]!r}")
        called = "has no name" if found[0].name is None else f"is named {found[0].name!r}"
        raise LambdaNotFound(f"lambda {ref.id} {called}, not {ref.name[:NAME_SHOWN]!r}")

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

    def list_page(self, name: str | None = None, *, before: int, limit: int) -> list[Lambda]:
        """Return lambdas, or those of a name, that are older than ``before``, newest first."""
        with self._database.read() as connection:
            return lambdas.list_lambdas(connection, name, before=before, limit=limit)


def _check_memo(request: LambdaCreate) -> None:
    """Raise InvalidRequest unless results of a lambda can be kept for equal jobs."""
    if not request.deterministic:
        raise InvalidRequest("`memo` needs `deterministic`: other lambdas may give another result the next time")
    if request.grants != Grants():
        raise InvalidRequest("`memo` goes with no grants: what a job reaches outside may change its result")
    if given(request.outputs):
        raise InvalidRequest("`memo` goes with no `outputs`: files that jobs give back are not kept for others")


def _check_verify(request: LambdaCreate) -> None:
    """Raise InvalidRequest unless others can agree on results of a lambda."""
    verify = given(request.verify)
    assert verify is not None
    if not request.deterministic:
        raise InvalidRequest("`verify` needs `deterministic`: no two runs of other lambdas need be alike")
    if (verify.sample is None) == (verify.quorum is None):
        raise InvalidRequest("`verify` has one of `sample` and `quorum`")


def _meaning(lambda_: Lambda) -> tuple[object, ...]:
    """Return what is equal for lambdas that run the same under the same name."""
    return lambda_.codex_sha256, lambda_.runtime, lambda_.name, lambda_.options.without_order()


def read_ok_codes(codes: Maybe[list[int] | None]) -> tuple[int, ...] | None:
    """Return exit codes that mean success beside 0, in order; None when nothing is said of them."""
    listed = given(codes)
    return None if listed is None else tuple(sorted({*listed} - {0}))


def store_lambda(connection: Connection, new: Lambda) -> None:
    """Store a lambda that was prepared. Raises BlobNotFound when its code was removed since."""
    if new.codex_sha256 is not None and not blobs.hold_blobs(connection, [new.codex]):
        raise BlobNotFound(f"the codex {new.codex} was removed at this moment: upload it again")
    lambdas.add_lambda(connection, new)


def read_lambda_ref(ref: LambdaRef) -> Id | LambdaName:
    """Read how a request names a lambda. Raises InvalidRequest."""
    try:
        return LambdaName.parse(ref)
    except ValueError as error:
        raise InvalidRequest(f"the lambda is wrong: {error}") from error


def read_retention(given_s: Retain | UnsetType | None) -> int | None:
    """Return how long jobs stay, in milliseconds; None when that was not said."""
    return None if given_s is None or isinstance(given_s, UnsetType) else retain_ms(given_s)


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


def _read_source(source: str | None) -> str:
    """Return where code was pulled from. Raises InvalidRequest for what is no pinned reference."""
    if source and (len(source) > SOURCE_MAX or not SOURCE.fullmatch(source)):
        raise InvalidRequest(
            f"source is {source[:200]!r}: it is oci://HOST/NAME@sha256: and 64 hex digits,"
            f" {SOURCE_MAX} characters at most"
        )
    return source or ""


def _write_gate(gate: GateEvidence | None) -> str:
    """Return evidence as it is kept."""
    return "" if gate is None else encode(gate).decode()


def _check_gate(gate: GateEvidence | None, sha256: bytes | None) -> None:
    """Raise InvalidRequest for what a gate said of other code."""
    if gate is not None and (sha256 is None or gate.checksum != sha256.hex()):
        whose = "none that is here" if sha256 is None else sha256.hex()
        raise InvalidRequest(f"gate is about code with the checksum {gate.checksum}, and the code is {whose}")
