"""The queues of Node.js: submitter and workers are programs of ``peers/node``, one process each."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from harness.backends import NODE_PACKAGES, find_node
from harness.contestant import STOP_TIMEOUT_S, WORKERS, Peer
from harness.usage import end_tree

PROGRAMS = Path(__file__).parent / "node"


class NodePeer(Peer):
    """A queue of Node.js. Its submitter takes lists of payloads, a line each, and gives the lists of answers."""

    program: str
    """How the names of its two programs begin."""
    packages: tuple[str, ...]
    """Those whose versions are told."""

    def __init__(self) -> None:
        super().__init__()
        self._submitters: list[subprocess.Popen[str]] = []

    def prepare(self) -> None:
        os.environ["NODE_PATH"] = str(NODE_PACKAGES)
        command = [find_node(), str(PROGRAMS / f"{self.program}_submitter.js")]
        self._submitter = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._submitters.append(self._submitter)
        self._read()

    def commands(self) -> list[list[str]]:
        return [[find_node(), str(PROGRAMS / f"{self.program}_worker.js")]] * WORKERS

    def run_all(self, payloads: list[str]) -> list[str | None]:
        assert self._submitter.stdin is not None
        self._submitter.stdin.write(json.dumps(payloads) + "\n")
        self._submitter.stdin.flush()
        answers: list[str | None] = json.loads(self._read())
        return answers

    def run_one(self, payload: str) -> str | None:
        return self.run_all([payload])[0]

    def groups(self) -> Mapping[str, list[int]]:
        return {"submitter": [self._submitter.pid], **super().groups()}

    def versions(self) -> dict[str, str]:
        found = {name: json.loads((NODE_PACKAGES / name / "package.json").read_text()) for name in self.packages}
        return {name: package["version"] for name, package in found.items()}

    def stop(self) -> None:
        end_tree(self._submitters, STOP_TIMEOUT_S)
        super().stop()

    def _read(self) -> str:
        """Return the submitter's next line. Raises RuntimeError when it has ended."""
        assert self._submitter.stdout is not None
        line = self._submitter.stdout.readline()
        if not line:
            raise RuntimeError("the submitter ended: its words are in the log")
        return line


class BullMq(NodePeer):
    """BullMQ on Redis."""

    program, packages = "bullmq", ("bullmq", "ioredis")


class GraphileWorker(NodePeer):
    """graphile-worker on PostgreSQL."""

    program, packages = "graphile", ("graphile-worker", "pg")
