"""Drill: a blob that is larger than any of the processes may be, up, through a job, and down again.

``python benchmarks/drills/big_blob.py`` takes 1 GiB. The promise: bit for bit the same, with server and agent
below 150 MB at their peaks (resident memory, summed over each one's processes).
"""

import random
import time
import zlib
from pathlib import Path

from evidence import MIB, Figures, expect, peak_memory_bytes, run_as_script
from guests import guest

from piecework import Client
from piecework.local import open_house
from piecework.protocol.messages import Limits

PEAK_MAX_BYTES = 150_000_000
JOB_TIMEOUT_S = 300.0


def drill(folder: Path, *, mebibytes: int) -> Figures:
    """Send a blob of this size around. Raises DrillError."""
    source, target = folder / "source", folder / "target"
    folder.mkdir(exist_ok=True)
    bytes_, newlines, crc = write_noise(source, mebibytes)
    with open_house(folder, "--slots", "1", agents=1) as house, Client(house.server.url) as client:
        started = time.monotonic()
        blob = client.upload(source)
        uploaded = time.monotonic()
        limits = Limits(timeout_s=JOB_TIMEOUT_S)
        counted = client.result(client.submit(client.create_lambda(guest("count_bytes")), blob, limits=limits))
        ran = time.monotonic()
        client.download(blob.id, target)
        downloaded = time.monotonic()
        server_bytes = peak_memory_bytes(house.server.pid)
        agent_bytes = peak_memory_bytes(house.agents[0].pid)
    expect(counted == f"{bytes_} {newlines} {crc:08x}\n".encode(), f"the guest read the same bytes: {counted!r}")
    expect(target.stat().st_size == bytes_ and checksum(target) == crc, "the same bytes came back")
    expect(server_bytes < PEAK_MAX_BYTES, f"the server stays below 150 MB: {server_bytes:,} bytes")
    expect(agent_bytes < PEAK_MAX_BYTES, f"the agent stays below 150 MB: {agent_bytes:,} bytes")
    return {
        "size, MiB": mebibytes,
        "bit for bit the same in the guest and back here": "yes",
        "server, peak MB": server_bytes / 1e6,
        "agent with its guest, peak MB": agent_bytes / 1e6,
        "upload, MB/s": bytes_ / 1e6 / (uploaded - started),
        "job, from submission to result, s": ran - uploaded,
        "download, MB/s": bytes_ / 1e6 / (downloaded - ran),
    }


def write_noise(path: Path, mebibytes: int) -> tuple[int, int, int]:
    """Write bytes that do not repeat; return their number, how many are newlines, and their CRC-32."""
    noise, newlines, crc = random.Random(mebibytes), 0, 0
    with path.open("wb") as file:
        for _ in range(mebibytes):
            chunk = noise.randbytes(MIB)
            newlines += chunk.count(b"\n")
            crc = zlib.crc32(chunk, crc)
            file.write(chunk)
    return mebibytes * MIB, newlines, crc


def checksum(path: Path) -> int:
    """Return the CRC-32 of a file."""
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(MIB):
            crc = zlib.crc32(chunk, crc)
    return crc


if __name__ == "__main__":
    run_as_script("A large blob", drill, mebibytes=1024)
