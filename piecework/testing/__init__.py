"""For tests of programs that use Piecework: a pytest plugin, and guests that run without a server."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from piecework.testing.guests import GuestRun, run_guest

__all__ = ["GuestRun", "run_guest"]


if not TYPE_CHECKING:  # pytest imports this package at each start

    def __getattr__(name: str) -> Any:
        """Import what runs guests when it is asked for."""
        if name in __all__:
            return getattr(importlib.import_module("piecework.testing.guests"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
