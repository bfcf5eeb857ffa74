"""Drill: what strangers write, damaged, at every door.

``python benchmarks/drills/doors.py``, or ``make fuzz``, gives damaged inputs to everything that reads what comes
from outside: requests to every path of the server, messages, modules, envelopes, manifests, configuration, texts.
The promise: each is taken, or refused as its reader says; nothing else is raised, no answer is 5xx, nothing hangs,
and nothing eats memory. The same seed makes the same inputs.
"""

import os
import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

from door_readers import ROOT, find_samples, list_readers
from door_requests import Doors
from evidence import MIB, Figures, expect, own_memory_bytes, run_as_script
from leaves import message_types, plant
from oracle import Reader, judge

FAULTS_MAX = 20
"""After so many, enough was found."""
KIND_CHARS = 140
"""So much of a fault tells it from others, but for its numbers."""
GROWTH_MAX_BYTES = 512 * MIB
"""All inputs together leave no more behind."""
ROUND = 20
"""So many inputs each reader gets in its turn; requests, which have most paths, come as often as all others."""


def drill(folder: Path, *, seconds: int, seed: int) -> Figures:
    """Damage inputs for that long. Raises DrillError."""
    folder.mkdir(parents=True, exist_ok=True)
    doors = Doors(folder)
    try:
        readers = list_readers(folder, _find_messages())
        return feed([*readers, *[doors.reader] * len(readers)], seconds=seconds, seed=seed)
    finally:
        doors.close()


def feed(readers: Sequence[Reader], *, seconds: float, seed: int) -> Figures:
    """Have readers read damaged inputs in turn. Raises DrillError with what went wrong."""
    noise, taken, given = Random(seed), Counter[str](), Counter[str]()
    faults: dict[str, str] = {}
    began, before = time.monotonic(), 0
    while time.monotonic() - began < seconds and len(faults) < FAULTS_MAX:
        for reader in readers:
            for _ in range(ROUND):
                given[reader.name] += 1
                was_taken, fault = judge(reader, reader.make(noise))
                taken[reader.name] += was_taken
                if fault:
                    faults.setdefault(re.sub(r"[0-9]+", "0", fault[:KIND_CHARS]), fault)
        before = before or own_memory_bytes(os.getpid())
    grown = own_memory_bytes(os.getpid()) - before
    expect(not faults, "\n".join([f"with the seed {seed}, each input is taken or refused:", *faults.values()]))
    expect(grown < GROWTH_MAX_BYTES, f"with the seed {seed}, memory does not grow: it did by {grown // MIB} MiB")
    shown = {name: f"{count:,} inputs, {taken[name]:,} taken" for name, count in given.items()}
    return {"seed": seed, **shown, "grown, MiB": grown // MIB, "all, s": time.monotonic() - began}


def _find_messages() -> list[tuple[type, object]]:
    """Return types of messages and sound ones of each: as the documents have them, and with each field alone."""
    types = {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", each.__name__).lower(): each for each in message_types()}
    planted = [(type_, leaf.message) for type_ in types.values() for leaf in plant(type_, "x")]
    return [*find_samples(types, ROOT / "samples" / "wire"), *planted]


if __name__ == "__main__":
    run_as_script("Damaged inputs at every door", drill, seconds=300, seed=int(time.time()))
