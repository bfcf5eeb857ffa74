"""Piecework: run WebAssembly functions as jobs on any number of nodes."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from piecework.client import Client as Client

__version__ = "0.1.0"
__all__ = ["Client", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the client when it is asked for: the server and the command line start faster without it."""
    if name == "Client":
        from piecework.client import Client  # noqa: PLC0415

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
