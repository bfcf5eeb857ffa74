"""Large blobs in a directory and in S3: how fast they go up and down, and what that costs the server."""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from harness.tables import Table, number
from harness.usage import cpu_s

from piecework import Client
from piecework.local import LocalServer
from scaling.blobs import MB, size_name, upload, write_noise

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

MOVED_BYTES = 200_000_000
"""So much moves in each direction, at least one blob."""
REPEATS_MAX = 100
ROUNDS = 5


def measure(folder: Path, sizes: list[int]) -> list[dict[str, Any]]:
    """Move blobs of each size in turns. Raises LookupError where there is no S3 server."""
    from s3_server import BUCKET, run_s3  # noqa: PLC0415  # it is where the tests are

    with run_s3(folder / "s3") as s3:
        places = {"directory": {}, "S3": s3.environ | {"PIECEWORK_BLOBS": f"s3://{BUCKET}"}}
        return [
            {"bytes": size, "store": store} | _measure(folder / f"{store}-{size}", environ, size)
            for size in sizes
            for store, environ in places.items()
        ]


def _measure(folder: Path, environ: dict[str, str], size: int) -> dict[str, float]:
    """Return MB/s and the server's CPU time for each MB, in both directions; medians of some rounds."""
    folder.mkdir()
    count = max(1, min(REPEATS_MAX, MOVED_BYTES // size // ROUNDS))
    with LocalServer(folder, environ=environ) as server, Client(server.url) as client:
        rounds = []
        for _ in range(ROUNDS):
            sources = [write_noise(folder / f"blob-{number}", size) for number in range(count)]
            ids: list[int] = []
            up = _watch(server.pid, [partial(upload, client, source, ids) for source in sources])
            down = _watch(server.pid, [partial(client.download, blob, folder / "target") for blob in ids])
            rounds.append((*up, *down))
    took = [sorted(column)[ROUNDS // 2] / (size * count) for column in zip(*rounds, strict=True)]
    return {"up": 1 / took[0], "up_cpu": took[1], "down": 1 / took[2], "down_cpu": took[3]}


def _watch(pid: int, moves: list[Callable[[], object]]) -> tuple[float, float]:
    """Make the moves. Returns how long they took and what CPU time of the server, seconds."""
    cpu, began = cpu_s([pid]), time.perf_counter()
    for move in moves:
        move()
    return time.perf_counter() - began, cpu_s([pid]) - cpu


def table(rows: list[dict[str, Any]]) -> Table:
    """One row for each size and store."""
    columns = ["blob", "store", "upload MB/s", "server's CPU, ms/MB", "download MB/s", "server's CPU, ms/MB"]
    shown = [
        [
            size_name(row["bytes"]), row["store"], number(row["up"] / MB), number(row["up_cpu"] * MB * 1000),
            number(row["down"] / MB), number(row["down_cpu"] * MB * 1000),
        ]
        for row in rows
    ]  # fmt: skip
    return Table("Stores of large blobs", columns, shown)
