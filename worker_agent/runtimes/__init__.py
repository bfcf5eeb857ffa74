"""The ways in which this agent can execute code.

A new one is a file beside these, a line in ``RUNTIMES``, and a folder with its sample guests in the tests.
Importing this package is cheap: wasmtime is loaded by the processes that run guests, not by the agent.
"""

from piecework.protocol.engines import ENGINES, Engine

__all__ = ["DEFAULT", "ENGINES", "RUNTIMES", "RUNTIME_NAMES", "Engine"]

DEFAULT = "default"
"""Look at the code and choose."""

RUNTIMES = {
    "capsule": "piecework.worker_agent.runtimes.capsule:CapsuleRuntime",
    "funless": "piecework.worker_agent.runtimes.funless:FunlessRuntime",
    "component": "piecework.worker_agent.runtimes.component:ComponentRuntime",
    "wasi": "piecework.worker_agent.runtimes.wasi:WasiRuntime",
}
"""Each runtime's class by its name. ``default`` asks them in this order whether they recognise the code."""

RUNTIME_NAMES = (DEFAULT, *RUNTIMES)
"""What an agent of this version can offer to a server."""
