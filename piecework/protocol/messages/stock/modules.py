"""Modules: what the registry has."""

from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages.base import Maybe, Reply


class ModuleInfo(Reply, kw_only=True):
    """The answer of ``GET /registry/modules/{org}/{module}/{tag}``."""

    org: str
    """Who publishes it."""
    module: str
    """Its name."""
    tag: str
    """Which one of that name."""
    digest: str
    """SHA-256 of its bytes, hex."""
    size: int
    """Bytes."""
    abi: str
    """What it is: ``wasi``, ``component``, ``funless``, ``capsule 1`` to ``capsule 4``, else ``module``."""
    info: str
    """What who pushed it says about it."""
    created_at: float
    """When these bytes were pushed, seconds since 1970."""
    data: Id
    """The blob that they are: the `codex` for a lambda."""


class ModuleList(Reply, kw_only=True):
    """The answer of ``GET /registry/modules``: newest first."""

    modules: list[ModuleInfo]
    """The modules."""
    next: Maybe[str] = UNSET
    """The cursor of the next page; absent on the last."""
