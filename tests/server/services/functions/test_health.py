"""URLs that failed lately."""

import errno
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hand_clock import HandClock
from patience import until

from piecework.server.services.functions.health import Health, Prober, try_connection


def test_a_url_is_passed_by_from_its_failure_until_it_was_reached():
    health = Health(HandClock(1000.0, per_s=1))
    assert health.is_well("http://a")
    health.note_failure("http://a", "refused", is_dead=True)
    assert not health.is_well("http://a")
    assert health.changed.is_set()
    assert health.reasons(["http://a", "http://b"]) == {"http://a": "refused"}
    health.note_success("http://a")
    assert health.is_well("http://a")


@pytest.mark.parametrize(("is_dead", "longest"), [(True, [5.0, 5.0, 5.0, 5.0]), (False, [8.0, 16.0, 32.0, 60.0])])
def test_pauses_grow_with_each_failure_in_a_row_up_to_a_limit(is_dead: bool, longest: list[float]):
    clock = HandClock(1000.0, per_s=1)
    health = Health(clock)
    pauses = []
    for _ in range(8):
        health.note_failure("http://a", "", is_dead=is_dead)
        pauses.append(health.next_look_s())
        assert health.due() == []
        clock.now += pauses[-1] or 0.0
        assert health.due() == ["http://a"]
    assert pauses == [0.5, 1.0, 2.0, 4.0, *longest]
    health.note_success("http://a")
    health.note_failure("http://a", "", is_dead=is_dead)
    assert health.next_look_s() == 0.5


def test_calls_that_fail_together_count_once():
    clock = HandClock(1000.0, per_s=1)
    health = Health(clock)
    for reason in ("broke off", "refused"):
        health.note_failure("http://a", reason, is_dead=reason == "refused")
        clock.now += 0.125
    assert health.next_look_s() == 0.25
    assert health.reasons(["http://a"]) == {"http://a": "refused"}
    assert health.is_dead("http://a")


def test_a_dead_url_that_takes_a_connection_is_well_and_one_that_is_not_is_tried_by_one_call():
    health = Health(HandClock(1000.0, per_s=1))
    health.note_failure("http://dead", "", is_dead=True)
    health.note_failure("http://mad", "", is_dead=False)
    assert not health.begin_trial("http://mad"), "it has its pause first"
    for url in ("http://dead", "http://mad"):
        health.note_connection(url)
    assert health.is_well("http://dead")
    assert not health.is_well("http://mad")
    assert health.next_look_s() is None, "there is nothing to connect to"
    assert [health.begin_trial("http://mad") for _ in range(3)] == [True, False, False]
    health.note_success("http://mad")
    assert health.is_well("http://mad")


def test_a_trial_that_fails_makes_the_pause_longer_and_one_of_which_nothing_is_heard_is_followed_by_another():
    clock = HandClock(1000.0, per_s=1)
    health = Health(clock)
    health.note_failure("http://a", "", is_dead=False)
    health.note_connection("http://a")
    assert health.begin_trial("http://a")
    health.note_failure("http://a", "", is_dead=False)
    assert health.next_look_s() == 1.0
    health.note_connection("http://a")
    health.changed.clear()
    assert health.begin_trial("http://a")
    assert health.changed.is_set(), "the prober slept, as there was nothing to look at"
    assert (health.next_look_s(), health.due()) == (1.0, [])
    clock.now += 1.0
    assert health.due() == ["http://a"]
    health.note_connection("http://a")
    assert health.begin_trial("http://a")


def test_what_nobody_routes_to_is_forgotten():
    health = Health(HandClock(1000.0, per_s=1))
    health.note_failure("http://a", "", is_dead=True)
    health.keep({"http://b"})
    assert health.next_look_s() is None


@pytest.mark.slow
def test_a_url_that_takes_connections_again_is_well_again():
    health = Health(time.monotonic)
    prober = Prober(health)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        health.note_failure(url, "", is_dead=True)
        prober.start()
        until(lambda: health.is_well(url))
        assert health.next_look_s() is None, "there is nothing left to look at"
    prober.stop()
    prober.stop()


def test_a_url_that_takes_none_stays_as_it_is():
    clock = HandClock(1000.0, per_s=1)
    health = Health(clock)

    def refuse(_: str) -> None:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")

    health.note_failure("http://a", "it broke off", is_dead=False)
    clock.now += 0.5
    Prober(health, refuse).probe("http://a")
    assert health.is_dead("http://a")
    assert health.next_look_s() == 1.0
    assert health.reasons(["http://a"]) == {"http://a": "it takes no connection: connection refused"}


def test_a_url_that_should_speak_tls_must_do_so_to_be_reached():
    def hang_up(server: socket.socket) -> None:
        server.accept()[0].close()

    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as pool:
        pool.submit(hang_up, server)
        with pytest.raises(OSError):  # how it breaks off depends on who is quicker
            try_connection(f"https://127.0.0.1:{server.getsockname()[1]}")
