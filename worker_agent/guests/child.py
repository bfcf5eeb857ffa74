"""The process that runs guests. Its agent starts it; it ends when the agent closes the link, or dies."""

import contextlib
import ctypes
import faulthandler
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from piecework.worker_agent.guests.frames import Ready
from piecework.worker_agent.guests.marker import Marker
from piecework.worker_agent.guests.scratch import LazyScratch
from piecework.worker_agent.guests.work.desk import Desk
from piecework.worker_agent.guests.work.pulse import Pulse
from piecework.worker_agent.guests.work.sharing import SharedStore
from piecework.worker_agent.guests.work.workbench import Workbench
from piecework.worker_agent.runtimes.base import STACK_MAX_BYTES
from piecework.worker_agent.runtimes.compiling.library import Library
from piecework.worker_agent.runtimes.compiling.toolchain import Toolchain

FILES_MAX = 65_536
"""Files that this process may have open: those of its guest, and a few of its own."""
_PR_SET_PDEATHSIG = 1
"""``prctl(2)``: the signal that this process gets when its parent dies."""


def serve(
    link: socket.socket, marker: Marker, compiled: Path, interpreters: Path | None, gone: Callable[[], object]
) -> None:
    """Run the tasks that come over the link until the agent closes it.

    ``gone`` is called, in another thread, when that happens while a guest runs.
    """
    desk = Desk(link, marker)
    equipment = desk.get_equipment()
    pulse = Pulse(desk, gone)
    library = Library(
        Toolchain(compiled, patience_s=equipment.load_s, memory_bytes=equipment.compile_bytes), interpreters
    )
    scratch = LazyScratch("piecework-guest-")
    workbench = Workbench(
        library,
        pulse,
        desk.send,
        equipment.rules,
        SharedStore(desk),
        desk.ask,
        scratch.make_folder,
        engine=equipment.engine,
    )
    pulse.start()
    # A broken link is the agent's end, too.
    with contextlib.suppress(OSError):
        desk.send(Ready(0))
        while (turn := desk.take()) is not None:
            pulse.wake()
            desk.done(workbench.perform(turn))
    pulse.wake()
    library.close()
    scratch.remove()


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its agent dies, however that happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def lower_own_value() -> None:
    """Be the first to go when memory runs out, and leave no core files."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("800")


def make_room() -> None:
    """Have room for guests with deep stacks and many open files, as far as the system allows."""
    for what, wanted in ((resource.RLIMIT_STACK, 2 * STACK_MAX_BYTES), (resource.RLIMIT_NOFILE, FILES_MAX)):
        soft, hard = resource.getrlimit(what)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(what, (most, hard))


def main() -> None:
    """Run as ``python -m ….guests.child LINK_FD MARKER_FD PARENT_PID COMPILED [INTERPRETERS]``."""
    link_fd, marker_fd, parent, compiled, *interpreters = sys.argv[1:]
    end_with_parent(int(parent))
    lower_own_value()
    make_room()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    with socket.socket(fileno=int(link_fd)) as link:
        serve(
            link, Marker(int(marker_fd)), Path(compiled), next(map(Path, interpreters), None), lambda: os._exit(0)
        )


if __name__ == "__main__":
    main()
