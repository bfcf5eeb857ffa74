"""Guests that go wrong in every way that we know: each ends at its own limit, and no other job notices."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from guest_texts import build, read_guest
from guests import guest

from piecework import Client
from piecework.client import JobOptions
from piecework.local import LocalAgent
from piecework.protocol.codes import ErrorKind
from piecework.protocol.ids import Id
from piecework.protocol.messages import Limits
from piecework.protocol.states import JobState

pytestmark = pytest.mark.integration

MIB = 1024 * 1024
PATIENCE_S = 60.0
TIMEOUT_S = 1.0
ONCE = JobOptions(max_attempts=1)


@dataclass
class EchoStream:
    """Echo jobs, one after the other, from a thread."""

    client: Client
    lambda_id: Id
    answered: int = 0
    wrong: list[bytes] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.stop.is_set():
            text = f"echo {self.answered}".encode()
            answer = self.client.result(self.client.submit(self.lambda_id, text, max_attempts=1), PATIENCE_S)
            self.wrong += [answer] if answer != text else []
            self.answered += 1


@contextmanager
def echoing(client: Client) -> Iterator[EchoStream]:
    """Keep echo jobs running beside the block; at its end all of them were answered rightly."""
    stream = EchoStream(client, client.create_lambda(guest("echo")))
    thread = threading.Thread(target=stream.run)
    thread.start()
    try:
        yield stream
    finally:
        stream.stop.set()
        thread.join()
    assert stream.answered > 0
    assert stream.wrong == []


def run_guest(client: Client, name: str, *args: str, **limits: object) -> tuple[ErrorKind, str, str]:
    """Run a guest that fails beside an echo stream; return the kind and message of its error, and its log."""
    lambda_id = client.create_lambda(guest(name), args=list(args))
    with echoing(client):
        job = client.submit(lambda_id, limits=Limits(**limits), **ONCE)
        [info] = client.wait([job], PATIENCE_S)
    assert info.state is JobState.FAILED
    return info.error.kind, info.error.message, client.log(job).text


@pytest.mark.parametrize("name", ["loop_forever", "sleep_forever"])
def test_a_guest_that_never_ends_is_stopped_at_its_time_limit(client: Client, agent: LocalAgent, name: str):
    kind, message, _ = run_guest(client, name, timeout_s=TIMEOUT_S)
    assert kind is ErrorKind.TIMEOUT
    assert "limit of 1 s" in message


def test_a_component_that_sleeps_is_killed_and_costs_no_other_job(client: Client, agent: LocalAgent):
    """WASI 0.2 is wasmtime's own: its clock does not hear of a stop, so that the process must end."""
    lambda_id = client.create_lambda(build(read_guest("component/sleep_in_host")), runtime="component")
    with echoing(client):
        [info] = client.wait([client.submit(lambda_id, limits=Limits(timeout_s=TIMEOUT_S), **ONCE)], PATIENCE_S)
    assert info.error.kind is ErrorKind.TIMEOUT
    assert "limit of 1 s, and could only be killed" in info.error.message


def test_a_guest_that_loops_is_stopped_when_its_fuel_is_used_up(client: Client, agent: LocalAgent):
    kind, message, _ = run_guest(client, "loop_forever", fuel=1_000_000, timeout_s=30.0)
    assert kind is ErrorKind.FUEL
    assert "1000000 units" in message


def test_a_guest_that_eats_memory_is_stopped_at_its_memory_limit(client: Client, agent: LocalAgent):
    kind, message, log = run_guest(client, "eat_memory", memory_bytes=64 * MIB, timeout_s=30.0)
    assert kind is ErrorKind.MEMORY
    assert str(64 * MIB) in message
    assert "no more memory after" in log


def test_a_guest_that_prints_without_end_is_stopped_at_its_output_limit(client: Client, agent: LocalAgent):
    kind, message, _ = run_guest(client, "print_forever", output_bytes=MIB, timeout_s=30.0)
    assert kind is ErrorKind.OUTPUT
    assert str(MIB) in message


def test_of_a_log_without_end_the_newest_is_kept(client: Client, agent: LocalAgent):
    kind, _, log = run_guest(client, "log_forever", log_bytes=4096, timeout_s=TIMEOUT_S)
    assert kind is ErrorKind.TIMEOUT
    assert 0 < len(log) <= 4096
    numbers = [int(line.rpartition(" ")[2]) for line in log.splitlines()[1:-1]]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert numbers[0] > 1000


@pytest.mark.parametrize("way", ["unreachable", "bounds", "divide", "abort", "stack"])
def test_a_guest_that_crashes_fails_with_a_trap(client: Client, agent: LocalAgent, way: str):
    kind, message, log = run_guest(client, "crash", way)
    assert kind is ErrorKind.TRAP
    assert message
    assert log == f"about to crash: {way}\n"


def test_a_guest_that_ends_with_an_exit_code_says_which(client: Client, agent: LocalAgent):
    kind, message, _ = run_guest(client, "exit_with_code", "7")
    assert kind is ErrorKind.GUEST
    assert "7" in message


def test_the_agent_has_survived_all_of_them(client: Client, agent: LocalAgent):
    assert agent.exit_code is None
    assert client.result(client.submit(client.create_lambda(guest("uppercase")), "alive"), PATIENCE_S) == b"ALIVE"
