"""URLs that failed lately."""

import socket
import time

from patience import until

from server.services.health import Health, Prober


class Hand:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_url_is_passed_by_from_its_failure_until_it_was_reached():
    health = Health(Hand())
    assert health.is_well("http://a")
    health.note_failure("http://a")
    assert not health.is_well("http://a")
    assert health.changed.is_set()
    health.note_success("http://a")
    assert health.is_well("http://a")


def test_pauses_grow_with_each_failure_in_a_row_up_to_a_limit():
    clock = Hand()
    health = Health(clock)
    pauses = []
    for _ in range(6):
        health.note_failure("http://a")
        pauses.append(health.next_look_s())
    assert pauses == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert health.due() == []
    clock.now += 5.0
    assert health.due() == ["http://a"]
    health.note_success("http://a")
    health.note_failure("http://a")
    assert health.next_look_s() == 0.5


def test_what_nobody_routes_to_is_forgotten():
    health = Health(Hand())
    health.note_failure("http://a")
    health.keep({"http://b"})
    assert health.next_look_s() is None


def test_a_url_that_takes_connections_again_is_well_again():
    health = Health(time.monotonic)
    prober = Prober(health)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        health.note_failure(url)
        prober.start()
        until(lambda: health.is_well(url))
        assert health.next_look_s() is None, "there is nothing left to look at"
    prober.stop()
    prober.stop()


def test_a_url_that_takes_none_stays_as_it_is():
    health = Health(Hand())

    def refuse(_: str) -> None:
        raise ConnectionRefusedError

    health.note_failure("http://a")
    Prober(health, refuse).probe("http://a")
    assert not health.is_well("http://a")
    assert health.next_look_s() == 1.0
