"""The work: 64-byte payloads, and the answer that each of them must get.

The first letter of a payload is its kind; the answer is the payload in capitals, so that only code that ran can
have given it. The guests in WebAssembly (``samples/uppercase.c``, ``guests/work.c``) do the same.
"""

import random
import string
import time

PAYLOAD_BYTES = 64
NOOP, CPU, SLEEP = "n", "c", "s"
"""Kinds: nothing to do, CPU_S of computing, a wait."""
CPU_S = 0.010
"""CPU time of a job of kind CPU."""


def make_payloads(count: int, kind: str, seed: str) -> list[str]:
    """Return ``count`` payloads that differ from each other and from those of every other seed."""
    letters = random.Random(f"{seed} {kind}")
    filler = PAYLOAD_BYTES - 1 - 8
    return [
        f"{kind}{number:08d}{''.join(letters.choices(string.ascii_lowercase, k=filler))}"
        for number in range(count)
    ]


def answer(payload: str) -> str:
    """Do the work of a payload in Python, as the workers of the other queues do."""
    if payload[0] == CPU:
        end_s = time.thread_time() + CPU_S
        while time.thread_time() < end_s:
            pass
    return payload.upper()


def count_wrong(payloads: list[str], answers: list[str | None]) -> int:
    """Return how many answers are missing or are not the one that belongs to the payload in their place."""
    wrong = sum(given != payload.upper() for payload, given in zip(payloads, answers, strict=False))
    return wrong + abs(len(payloads) - len(answers))
