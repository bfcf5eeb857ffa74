"""Where the code of a deployment comes from: the registry, a blob, or a lambda that is there."""

from typing import NamedTuple

from msgspec import UNSET

from piecework.modules import DEFAULT, MAGIC, ModuleError, choose_runtime, inspect_code
from piecework.protocol.ids import Id
from piecework.protocol.messages import DeploymentPut
from piecework.protocol.names import ModuleName
from piecework.server.errors import BlobNotFound, InvalidRequest, ModuleInvalid, ModuleNotFound
from piecework.server.services.stock.data import Data
from piecework.server.services.stock.lambdas import CODEX_MAX_BYTES, Lambdas
from piecework.server.store.engine.database import Connection, Database
from piecework.server.store.records import Blob, Lambda
from piecework.server.store.stock import modules


class Source(NamedTuple):
    """Code that can be deployed."""

    codex: int
    module: str | None = None
    """The module with its digest, when it is from the registry."""
    lambda_: Lambda | None = None


def require_module(connection: Connection, pinned: str) -> None:
    """Keep a module from being deleted or changed before this transaction ends.

    Raises ModuleNotFound when that has happened already, since somebody looked.
    """
    name = ModuleName.parse(pinned)
    found = modules.lock_module(connection, name.org, name.module, name.tag)
    if found is None or found.name != name:
        raise ModuleNotFound(f"the module {name.path} was deleted or changed at this moment: try again")


class Sources:
    """Finds code, and what can run it."""

    def __init__(self, database: Database, data: Data, lambdas: Lambdas) -> None:
        self._database = database
        self._data = data
        self._lambdas = lambdas

    def find(self, request: DeploymentPut) -> Source:
        """Return what a deployment names. Raises InvalidRequest, ModuleNotFound or LambdaNotFound."""
        given = [each for each in (request.module, request.codex, request.lambda_) if each is not UNSET]
        if len(given) != 1:
            raise InvalidRequest("a deployment names what to run by exactly one of `module`, `codex` and `lambda`")
        if isinstance(request.module, str):
            return self._find_module(request.module)
        if isinstance(request.codex, Id):
            source = Source(request.codex)
        else:
            assert request.lambda_ is not UNSET, "one of the three is given"
            found = self._lambdas.resolve(request.lambda_)
            source = Source(found.codex, lambda_=found)
        self._get_blob(source.codex)
        return source

    def _find_module(self, text: str) -> Source:
        try:
            name = ModuleName.parse(text)
        except ValueError as error:
            raise InvalidRequest(f"module: {error}") from error
        with self._database.read() as connection:
            found = modules.find_module(connection, name.org, name.module, name.tag)
        if found is None:
            raise ModuleNotFound(f"there is no module {name.path} in the registry: push it first")
        if name.digest and name.digest != found.name.digest:
            raise ModuleNotFound(f"the module {name.path} has the digest sha256:{found.name.digest}, another one")
        return Source(found.blob_id, str(found.name))

    def detect_runtime(self, source: Source) -> str:
        """Return the runtime that code is meant for. Raises InvalidRequest or ModuleInvalid."""
        code = self._read(source.codex)
        try:
            chosen = choose_runtime(DEFAULT, code)
        except ModuleError as error:
            raised = ModuleInvalid if code.startswith(MAGIC) else InvalidRequest
            raise raised(f"the code cannot run: {error}") from error
        if chosen != DEFAULT:
            return chosen
        reasons = "; ".join(f"{runtime}: {why}" for runtime, why in inspect_code(code).refusals.items())
        raise ModuleInvalid(f"no runtime can run the code: {reasons}")

    def _get_blob(self, codex: int) -> Blob:
        try:
            return self._data.get(codex)
        except BlobNotFound as error:
            raise InvalidRequest(f"there is no blob {codex} with code: upload it first") from error

    def _read(self, codex: int) -> bytes:
        blob = self._get_blob(codex)
        code = self._data.read(blob, CODEX_MAX_BYTES)
        if code is None:
            raise ModuleInvalid(f"the code has {blob.size} bytes, and may have at most {CODEX_MAX_BYTES}")
        return code
