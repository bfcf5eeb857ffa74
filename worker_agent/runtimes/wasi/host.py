"""The host side of WASI preview 1, and of ``piecework``: every function, for the one guest that runs now.

Source: the witx files of WASI snapshot preview 1.
"""

from collections.abc import Container

from piecework.modules.kv import KV_INTERFACE
from piecework.worker_agent.runtimes.linkage import HostFunction, Linkage
from piecework.worker_agent.runtimes.wasi.calls import file_calls, kv_calls, path_calls, poll_calls, process_calls
from piecework.worker_agent.runtimes.wasi.errno import WasiError, translate
from piecework.worker_agent.runtimes.wasi.guest import Guest

INTERFACE = "wasi_snapshot_preview1"
CALLS = process_calls.CALLS | file_calls.CALLS | path_calls.CALLS | poll_calls.CALLS
ALL = CALLS.keys() | kv_calls.CALLS.keys()
OFFERED = (INTERFACE, KV_INTERFACE)
WITHOUT_ANSWER = frozenset({"proc_exit"})


class WasiHost:
    """Gives the guests of one engine their imports. Serves one guest at a time, in one thread."""

    def __init__(self, linkage: Linkage, wanted: Container[str] = ALL) -> None:
        """Define the functions of the interface, or only those ``wanted`` of one module, which is sooner done."""
        self.linkage = linkage
        self.guest: Guest | None = None
        """Whose calls are answered now."""
        for interface, calls in ((INTERFACE, CALLS), (KV_INTERFACE, kv_calls.CALLS)):
            for name, (parameters, call) in calls.items():
                if name in wanted:
                    answers = name not in WITHOUT_ANSWER
                    linkage.define(interface, name, parameters, self._serve(call), answers=answers)

    def _serve(self, call: HostFunction) -> HostFunction:
        def serve(*arguments: int) -> int | None:
            guest = self.guest
            assert guest is not None
            try:
                return call(guest, *arguments)
            except WasiError as error:
                return error.errno
            except OSError as error:
                return translate(error).errno

        return serve
