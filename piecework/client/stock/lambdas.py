"""The client's calls about lambdas."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypedDict, Unpack

import msgspec

from piecework.client.calls import AnyId, AnyLambda, lambda_ref
from piecework.client.errors import NotFound
from piecework.client.modes import call, iteration
from piecework.client.stock.blobs import BlobCalls
from piecework.client.transport import PreparedRequest, Query
from piecework.modules import DEFAULT, choose_runtime, resolve_runtime
from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    DataReply,
    GateEvidence,
    Grants,
    LambdaCreate,
    LambdaCreated,
    LambdaInfo,
    LambdaList,
    Limits,
    MemosInfo,
    Verify,
)
from piecework.protocol.retention import Retain

UNTOLD = "wasi"
"""The runtime of a blob for which nobody names one."""
Codex = Path | bytes | DataReply | AnyId
"""A lambda's code: a file or bytes to upload, what an upload answered, or the id of a blob."""

Upload = Callable[[], Awaitable[DataReply]]
"""Stores a lambda's code."""


class LambdaOptions(TypedDict, total=False):
    """What a lambda sets for all of its jobs. See ``LambdaCreate``."""

    name: str
    tags: list[str]
    args: list[str]
    env: dict[str, str]
    limits: Limits
    grants: Grants
    ok_codes: list[int]
    outputs: list[str]
    deterministic: bool
    record: bool
    mode: Literal["text", "json", "http"]
    reuse: bool
    retain_s: Retain
    concurrency_key: str
    concurrency_limit: int
    rate_key: str
    rate_limit: int
    rate_period_s: float
    memo: bool
    receipts: bool
    source: str
    verify: Verify
    gate: GateEvidence


class LambdaCalls(BlobCalls):
    """Lambdas: code, the runtime it needs, and defaults for its jobs."""

    @call
    async def create_lambda(
        self, codex: Codex | LambdaCreate, runtime: str | None = None, **options: Unpack[LambdaOptions]
    ) -> Id:
        """Create a lambda and return its id; code given as a file or bytes is uploaded first.

        Without a runtime, code given as a file or bytes tells it, a script by its first line or the ending of its
        file; for a blob it is ``wasi``. ``python``, ``js`` and ``lua`` are short names. Raises ValueError when the
        code does not tell.

        Each call creates a new lambda, so it is not repeated by itself. With ``reuse=True`` it gives the one that
        is there when its code, runtime, name and options are the same (of lambdas with that name, the newest
        counts); code that the server has is not uploaded again. Raises Invalid when the code cannot run under the
        runtime.
        """
        if isinstance(codex, LambdaCreate):
            request = PreparedRequest("POST", "/lambda", body=codex, repeatable=codex.reuse is True)
            return (await self.carrier.call(request, LambdaCreated)).id
        source, found = self._find_code(codex, runtime)
        create = LambdaCreate(runtime=found, **options)
        if isinstance(source, Id):
            return await self.create_lambda(msgspec.structs.replace(create, codex=source))
        return await self.put_lambda(create, source, lambda: self.upload(source))

    @call
    async def put_lambda(self, create: LambdaCreate, code: Path | bytes, upload: Upload) -> Id:
        """Create a lambda without a ``codex`` from code, which ``upload`` stores if need be, and return its id."""
        if create.reuse:
            with suppress(NotFound):
                return await self.create_lambda(msgspec.structs.replace(create, codex_checksum=_digest(code)))
        return await self.create_lambda(msgspec.structs.replace(create, codex=(await upload()).id))

    @call
    async def lambda_(self, lambda_id: AnyLambda) -> LambdaInfo:
        """Return a lambda with everything known about it. Raises NotFound."""
        request = PreparedRequest("GET", f"/lambda/{lambda_ref(lambda_id)}", {"view": "full"}, repeatable=True)
        return await self.carrier.call(request, LambdaInfo)

    @iteration
    def lambdas(self, limit: int | None = None, *, name: str | None = None) -> AsyncIterator[LambdaInfo]:
        """Go through the lambdas, or those of a name, newest first; at most ``limit`` of them."""
        return self._items("/lambda", {"name": name}, LambdaList, "lambdas", limit)

    @call
    async def delete_lambda(self, lambda_id: AnyLambda, *, cancel: bool = False) -> str:
        """Delete a lambda, of a name the newest, and return what the server says.

        Raises Conflict while jobs of it have not ended, unless ``cancel`` is set, or a function is made of it; and
        NotFound, also when it was deleted before.
        """
        query: Query = {"cancel": "true"} if cancel else {}
        return await self._steer(
            PreparedRequest("DELETE", f"/lambda/{lambda_ref(lambda_id)}", query, repeatable=True)
        )

    @call
    async def memos(self, lambda_id: AnyLambda) -> MemosInfo:
        """Return what is kept of a lambda's code for equal jobs. Raises NotFound."""
        request = PreparedRequest("GET", f"/lambda/{lambda_ref(lambda_id)}/memos", repeatable=True)
        return await self.carrier.call(request, MemosInfo)

    @call
    async def forget_memos(self, lambda_id: AnyLambda) -> str:
        """Forget these results, keep new ones from now on, and return what the server says. Raises NotFound."""
        return await self._steer(
            PreparedRequest("DELETE", f"/lambda/{lambda_ref(lambda_id)}/memos", repeatable=True)
        )

    def _find_code(self, codex: Codex, runtime: str | None) -> tuple[Id | Path | bytes, str]:
        """Return the blob with some code, or what is to be uploaded, and its runtime."""
        named = None if runtime is None else resolve_runtime(runtime, lambda: None)
        if not isinstance(codex, Path | bytes):
            return codex.id if isinstance(codex, DataReply) else Id.parse(codex), named or UNTOLD
        if named not in {None, DEFAULT}:
            return codex, str(named)
        code = codex if isinstance(codex, bytes) else codex.read_bytes()
        return code, choose_runtime(DEFAULT, code, codex.name if isinstance(codex, Path) else "")


def _digest(code: Path | bytes) -> str:
    """Return the SHA-256 of some code, hex."""
    if isinstance(code, bytes):
        return hashlib.sha256(code).hexdigest()
    with code.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
