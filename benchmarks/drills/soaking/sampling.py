"""What is looked at in a soak every few seconds. Each sample is a line of a CSV file as soon as it was taken."""

import csv
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from statistics import quantiles
from typing import Any

from piecework import Client
from piecework.client import ClientError
from piecework.http.exchange import Request
from piecework.protocol.ids import Id
from piecework.protocol.messages import DeploymentPut
from soaking.faults import Hazards
from soaking.ledger import Ledger
from soaking.loops import SoakLoop
from soaking.processes import MB, WHATS, ProcessWatch, name_groups
from soaking.world import World

FUNCTION = "hello"
PROBE_S = 0.5
PROBE_PATIENCE_S = 60.0

Row = dict[str, Any]
"""Figures by name; ``at_s`` is when, ``fault`` whether a fault may show in them,
``made`` which were made since the sample before. What is not known is left out."""


def deploy_function(client: Client, code: bytes, replicas: int) -> None:
    """Have the function served that the probe calls."""
    client.deploy(FUNCTION, "one", DeploymentPut(codex=client.upload(code).id, replicas=replicas))
    client.await_replicas(FUNCTION, "one", PROBE_PATIENCE_S)


class Probe(SoakLoop):
    """Runs a small job and calls a function, again and again, and keeps how long each took."""

    def __init__(self, client: Client, lambda_: Id, ledger: Ledger, hazards: Hazards) -> None:
        super().__init__("probe", PROBE_S)
        self._client = client
        self._lambda = lambda_
        self._ledger = ledger
        self._hazards = hazards
        self._change = threading.Lock()
        self._took: dict[str, list[float]] = {"job": [], "call": []}

    def take_turn(self) -> None:
        for name, act in {"job": self._run_job, "call": self._call}.items():
            began_s, began = self._hazards.clock(), time.perf_counter()
            try:
                act()
            except Exception as error:  # noqa: BLE001  # whatever it is belongs into the verdict
                if not (self._hazards.covers(began_s) or self._hazards.covers(self._hazards.clock())):
                    self._ledger.note_wrong(f"{name} at {began_s:.0f} s: {type(error).__name__}: {error}")
            else:
                with self._change:
                    self._took[name].append(time.perf_counter() - began)

    def _run_job(self) -> None:
        info = self._client.submit_and_wait(self._lambda, b"probe", PROBE_PATIENCE_S)
        if self._client.read_end(info).read() != b"PROBE":
            raise ValueError(f"job {info.id} gave other bytes")

    def _call(self) -> None:
        answer = self._client.invoke(FUNCTION, Request(), timeout_s=PROBE_PATIENCE_S)
        if answer.status != 200 or b"message" not in answer.body:
            raise ValueError(f"the function answered {answer.status}: {answer.body[:100]!r}")

    def take(self) -> Row:
        """Return how long they took since this was asked last, milliseconds."""
        with self._change:
            took, self._took = self._took, {name: [] for name in self._took}
        return {
            f"{name}_{share}_ms": cut * 1000
            for name, times in took.items()
            if times
            for share, cut in zip(("p50", "p99"), cut_times(times), strict=True)
        }


def cut_times(times: list[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile of some times."""
    cuts = quantiles(times * 2, n=100, method="inclusive")
    return cuts[49], cuts[98]


class Sampler(SoakLoop):
    """Takes samples and appends them to a file."""

    def __init__(
        self,
        world: World,
        client: Client,
        probe: Probe,
        ledger: Ledger,
        hazards: Hazards,
        file: Path,
        every_s: float,
    ) -> None:
        super().__init__("sampler", every_s)
        self._world, self._client, self._probe = world, client, probe
        self._ledger, self._hazards = ledger, hazards
        self._file = file
        self._watch = ProcessWatch()
        self._told = 0
        self._times: list[float] = []
        self._names = name_series(world.roots())
        with file.open("w", newline="") as opened:
            csv.writer(opened).writerow(self._names)

    def take_turn(self) -> None:
        row = self.take()
        with self._file.open("a", newline="") as opened:
            csv.writer(opened).writerow(_round(row.get(name, "")) for name in self._names)
        self._times.append(row["at_s"])

    def count_after(self, at_s: float) -> int:
        """Return how many samples were taken after a moment."""
        return sum(each > at_s for each in self._times)

    def take(self) -> Row:
        """Take a sample now; what the server would tell is left out while it is away."""
        at_s = self._hazards.clock()
        made = [fault.kind for fault in self._hazards.made[self._told :]]
        self._told += len(made)
        row: Row = {"at_s": at_s, "fault": int(self._hazards.covers(at_s)), "made": "; ".join(made)}
        row |= self._watch.look(self._world.roots(), at_s) | self._probe.take()
        row |= {"jobs": self._ledger.expected, "blobs": self._world.disk.age_blobs()}
        with suppress(ClientError):
            kept = self._client.within(self.pause_s).storage()
            row["database_mb"] = kept.database_bytes / MB
            row["rows"] = kept.jobs.finished + kept.jobs.failed + kept.jobs.cancelled
            row["queue"] = kept.jobs.waiting + kept.jobs.enqueued + kept.jobs.running
        return row


def name_series(roots: Iterable[str]) -> list[str]:
    """Return the names of all figures of a sample."""
    programs = [f"{name}_{what}" for root in sorted(roots) for name in name_groups(root) for what in WHATS]
    times = [f"{name}_{share}_ms" for name in ("job", "call") for share in ("p50", "p99")]
    return ["at_s", "fault", "made", *programs, "database_mb", "rows", "blobs", "queue", *times, "jobs"]


def _round(value: object) -> object:
    return round(value, 3) if isinstance(value, float) else value


def read_samples(file: Path) -> list[Row]:
    """Read the samples of a file. A last line that was not written whole is left out."""
    with file.open(newline="") as opened:
        return [
            {name: float(value) for name, value in row.items() if value and name != "made"}
            for row in csv.DictReader(opened)
            if None not in row.values()
        ]
