"""Running a run again, in a guest process of its own."""

import math
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import asdict

from piecework.receipts.bundle import Bundle
from piecework.receipts.replays import Replay
from piecework.worker_agent.guests.assignment import Loss
from piecework.worker_agent.guests.frames import Assign
from piecework.worker_agent.guests.process import GuestProcess
from piecework.worker_agent.guests.slot import write_loss
from piecework.worker_agent.jobs.work.comparing import compare
from piecework.worker_agent.replaying.runs import ReplayError, unpack
from piecework.worker_agent.runtimes import Engine
from piecework.worker_agent.runtimes.base import COMPILE_BYTES, OURS
from piecework.worker_agent.runtimes.linkage.installed import find_version
from piecework.worker_agent.runtimes.services.access import NodeRules
from piecework.worker_agent.runtimes.trees import remove_tree
from piecework.worker_agent.serving.solo import LOAD_S, Solo, follow


class ReplayNode(NamedTuple):
    """What this machine has for replays."""

    compiled: Path
    """The folder with machine code."""
    interpreters: Path
    compile_bytes: int = COMPILE_BYTES

    def start(self, folder: Path) -> Solo:
        """Start a process for replays, to which nothing is granted. ``folder`` is for what it needs meanwhile.

        Raises FunctionError.
        """
        return follow(
            partial(
                GuestProcess,
                compiled=self.compiled,
                last_words=folder / "stderr",
                interpreters=self.interpreters,
                rules=NodeRules(),
                load_s=LOAD_S,
                compile_bytes=self.compile_bytes,
                scratch=folder,
            )
        )


def replay(
    bundle: Bundle, node: ReplayNode, *, engine: Engine = "cranelift", timeout_s: float = math.inf
) -> Replay:
    """Do a bundle's run again, and compare. It reaches nothing: no network, no file of this machine, no server.

    Raises ReplayError when it cannot be done, ReceiptError for a bundle that is damaged, OSError.
    """
    started = time.monotonic()
    node.compiled.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="piecework-replay-"))
    try:
        task = unpack(bundle, folder, engine=engine, timeout_s=timeout_s)
        with node.start(folder) as solo:
            end = solo.perform(Assign(1, task, str(folder / "output")))
        if isinstance(end, Loss):
            raise ReplayError(f"the guest process did not survive the replay: {write_loss(end)}")
        error = end.result.error
        if error is not None and error.kind in OURS and end.result.difference is None:
            raise ReplayError(f"the run cannot be repeated here: {error.message}")
        found = compare(bundle, task, end.result)
        return Replay(**asdict(found), engine=engine, wasmtime=find_version(), wall_s=time.monotonic() - started)
    finally:
        remove_tree(folder)
