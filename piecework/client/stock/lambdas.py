"""The client's calls about lambdas."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypedDict, Unpack

from piecework.client.calls import AnyId, path_id
from piecework.client.stock.blobs import BlobCalls
from piecework.client.transport import PreparedRequest
from piecework.modules import DEFAULT, choose_runtime, resolve_runtime
from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    DataReply,
    Grants,
    LambdaCreate,
    LambdaCreated,
    LambdaInfo,
    LambdaList,
    Limits,
)

UNTOLD = "wasi"
"""The runtime of a blob for which nobody names one."""
Codex = Path | bytes | DataReply | AnyId
"""A lambda's code: a file or bytes to upload, what an upload answered, or the id of a blob."""


class LambdaOptions(TypedDict, total=False):
    """What a lambda sets for all of its jobs. See ``LambdaCreate``."""

    name: str
    tags: list[str]
    args: list[str]
    env: dict[str, str]
    limits: Limits
    grants: Grants
    deterministic: bool
    mode: Literal["text", "json", "http"]


class LambdaCalls(BlobCalls):
    """Lambdas: code, the runtime it needs, and defaults for its jobs."""

    def create_lambda(
        self, codex: Codex | LambdaCreate, runtime: str | None = None, **options: Unpack[LambdaOptions]
    ) -> Id:
        """Create a lambda and return its id; code given as a file or bytes is uploaded first.

        Without a runtime, code given as a file or bytes tells it, a script by its first line or the ending of its
        file; for a blob it is ``wasi``. ``python``, ``js`` and ``lua`` are short names. Raises ValueError when the
        code does not tell.

        Each call creates a new lambda, so it is not repeated by itself. Raises Invalid when the code cannot
        run under the runtime.
        """
        if isinstance(codex, LambdaCreate):
            create = codex
        else:
            blob, found = self._find_code(codex, runtime)
            create = LambdaCreate(codex=blob, runtime=found, **options)
        return self.transport.call(PreparedRequest("POST", "/lambda", body=create), LambdaCreated).id

    def lambda_(self, lambda_id: AnyId) -> LambdaInfo:
        """Return a lambda with everything known about it. Raises NotFound."""
        request = PreparedRequest("GET", f"/lambda/{path_id(lambda_id)}", {"view": "full"}, repeatable=True)
        return self.transport.call(request, LambdaInfo)

    def lambdas(self, limit: int | None = None) -> Iterator[LambdaInfo]:
        """Go through the lambdas, newest first; at most ``limit`` of them."""
        return self._items("/lambda", {}, LambdaList, "lambdas", limit)

    def _find_code(self, codex: Codex, runtime: str | None) -> tuple[Id, str]:
        """Return the blob with some code, which is uploaded first, and its runtime."""
        named = None if runtime is None else resolve_runtime(runtime, lambda: None)
        if not isinstance(codex, Path | bytes):
            return codex.id if isinstance(codex, DataReply) else Id.parse(codex), named or UNTOLD
        if named not in {None, DEFAULT}:
            return self.upload(codex).id, str(named)
        code = codex if isinstance(codex, bytes) else codex.read_bytes()
        found = choose_runtime(DEFAULT, code, codex.name if isinstance(codex, Path) else "")
        return self.upload(code).id, found
