"""What guests want of the server: what is tried again, what is not, and which number tells of it."""

import time

import pytest
from msgspec.structs import replace

from piecework.backoff import Pauses
from piecework.client import ServerUnreachable
from piecework.client.errors import BadReply, api_error
from piecework.protocol.codes import Code
from piecework.protocol.messages import ValueSet
from piecework.worker_agent.link.entries import ServerEntries
from piecework.worker_agent.runtimes.services.entries import KEYS_MAX, EntryAnswer, EntryFault, EntryRequest

GET = EntryRequest("get", 7, "k")
SET = EntryRequest("set", 7, "k", ValueSet(value="v"))
ADD = EntryRequest("set", 7, "k", ValueSet(incr=1))
DELETE = EntryRequest("delete", 7, "k")
LOCK = EntryRequest("set", 7, "k", ValueSet(value="v", if_absent=True))
UNLOCK = replace(DELETE, if_value="v")
DOWN = ServerUnreachable("http://server", "connection refused", sent=False)
LOST = ServerUnreachable("http://server", "connection reset", sent=True)
BUSY = api_error(503, Code.ERROR, "too many requests")


class Scripted:
    """A client whose calls end as they are told to, one after the other; the last goes on for ever."""

    def __init__(self, ends):
        self.ends, self.calls = list(ends), []

    def with_retries(self, _retries):
        return self

    def within(self, _seconds):
        return self

    def __getattr__(self, name):
        def call(*arguments, **more):
            self.calls.append((name, arguments, more))
            end = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
            if isinstance(end, Exception):
                raise end
            return end

        return call


def perform(request, *ends, seconds=3600.0, is_wanted=lambda: True):
    """Return the answer, and how often the server was asked."""
    client = Scripted(ends)
    entries = ServerEntries(client, lambda: Pauses(lambda: 1.0), lambda _: None)
    return entries.perform(request, time.monotonic() + seconds, is_wanted), len(client.calls)


@pytest.mark.parametrize("request_", [GET, SET, ADD, LOCK])
def test_server_that_was_not_reached_is_asked_again(request_):
    assert perform(request_, DOWN, BUSY, DOWN, "v") == (EntryAnswer(b"v"), 4)


@pytest.mark.parametrize("request_", [GET, SET])
def test_what_is_the_same_done_twice_is_done_again(request_):
    assert perform(request_, LOST, BadReply("half"), "v") == (EntryAnswer(b"v"), 3)


@pytest.mark.parametrize("request_", [ADD, LOCK, UNLOCK])
@pytest.mark.parametrize("end", [LOST, BadReply("half"), api_error(500, Code.ERROR, "a bug")])
def test_what_may_have_been_done_is_not_done_again(request_, end):
    answer, tries = perform(request_, DOWN, end, "v")
    assert (answer.fault, tries) == (EntryFault.UNSURE, 2)


def test_value_that_an_earlier_try_removed_is_removed():
    nothing = api_error(404, Code.VALUE_NOT_FOUND, "no value")
    assert perform(DELETE, LOST, nothing) == (EntryAnswer(), 2)
    assert perform(DELETE, DOWN, nothing)[0].fault is EntryFault.NO_VALUE


@pytest.mark.parametrize(
    ("request_", "end", "fault"),
    [
        (GET, DOWN, EntryFault.AWAY),
        (ADD, DOWN, EntryFault.AWAY),
        (ADD, BUSY, EntryFault.AWAY),
        (SET, LOST, EntryFault.UNSURE),
        (GET, LOST, EntryFault.AWAY),
    ],
)
def test_patience_ends_with_what_is_known(request_, end, fault):
    answer, _ = perform(request_, end, seconds=0.0)
    assert answer.fault is fault
    assert b"http:" not in answer.text, "guests do not learn where the server is"


def test_nobody_asks_again_for_a_guest_that_ended():
    assert perform(GET, DOWN, "v", is_wanted=lambda: False)[1] == 1


@pytest.mark.parametrize(
    ("status", "code", "fault"),
    [
        (404, Code.NAMESPACE_NOT_FOUND, EntryFault.NO_NAMESPACE),
        (404, Code.VALUE_NOT_FOUND, EntryFault.NO_VALUE),
        (409, Code.VALUE_DIFFERS, EntryFault.DIFFERS),
        (409, Code.NOT_A_NUMBER, EntryFault.NO_NUMBER),
        (413, Code.TOO_LARGE, EntryFault.TOO_LARGE),
        (422, Code.INVALID, EntryFault.INVALID),
        (401, Code.ERROR, EntryFault.AWAY),
    ],
)
def test_refusals_have_numbers_and_are_not_repeated(status, code, fault):
    assert perform(SET, api_error(status, code, "why")) == (EntryAnswer(b"why", fault), 1)


def test_keys_come_in_one_text():
    listing = replace(GET, act="keys", key="p", after="pa")
    assert perform(listing, ["pb", "p\u00e9"]) == (EntryAnswer("pb\0p\u00e9\0".encode()), 1)
    client = Scripted([api_error(422, Code.INVALID, "limit"), ["pb"]])
    answer = ServerEntries(client, lambda: Pauses(lambda: 1.0), lambda _: None).perform(listing, 0.0, lambda: True)
    assert answer.text == b"pb\0"
    assert [call[2] for call in client.calls] == [{"prefix": "p", "limit": KEYS_MAX}, {"prefix": "p"}]
