"""The URLs in use, while calls of many threads look them up and forget them."""

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from piecework.server.forwarding.upstreams import Upstreams


@pytest.fixture
def quick_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("quick_switches")
def test_urls_are_forgotten_while_others_come_to_be_known():
    upstreams, over = Upstreams(), threading.Event()
    names = [f"http://h{number}" for number in range(500)]

    def look_up() -> None:
        while not over.is_set():
            for name in names:
                upstreams.get(name)

    def forget() -> None:
        for number in range(1000):
            upstreams.keep(set(names[: number % 10]))

    with ThreadPoolExecutor() as pool:
        looking = pool.submit(look_up)
        forgetting = [pool.submit(forget) for _ in range(2)]
        failures = [each.exception() for each in forgetting]
        over.set()
        assert (failures, looking.exception()) == ([None, None], None)
