"""The client's calls about lambdas."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypedDict, Unpack

from piecework.client.blobs import BlobCalls
from piecework.client.calls import AnyId, path_id
from piecework.client.transport import Request
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
        self, codex: Codex | LambdaCreate, runtime: str = "wasi", **options: Unpack[LambdaOptions]
    ) -> Id:
        """Create a lambda and return its id; code given as a file or bytes is uploaded first.

        Each call creates a new lambda, so it is not repeated by itself. Raises Invalid when the code cannot
        run under the runtime.
        """
        if isinstance(codex, LambdaCreate):
            create = codex
        else:
            create = LambdaCreate(codex=self._codex_id(codex), runtime=runtime, **options)
        return self.transport.call(Request("POST", "/lambda", body=create), LambdaCreated).id

    def lambda_(self, lambda_id: AnyId) -> LambdaInfo:
        """Return a lambda with everything known about it. Raises NotFound."""
        request = Request("GET", f"/lambda/{path_id(lambda_id)}", {"view": "full"}, repeatable=True)
        return self.transport.call(request, LambdaInfo)

    def lambdas(self, limit: int | None = None) -> Iterator[LambdaInfo]:
        """Go through the lambdas, newest first; at most ``limit`` of them."""
        return self._items("/lambda", {}, LambdaList, "lambdas", limit)

    def _codex_id(self, codex: Codex) -> Id:
        if isinstance(codex, Path | bytes):
            return self.upload(codex).id
        return codex.id if isinstance(codex, DataReply) else Id.parse(codex)
