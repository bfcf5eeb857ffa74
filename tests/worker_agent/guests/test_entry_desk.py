"""What guests want of their namespaces, on its way through desk, slot and agent."""

import threading

import pytest
from msgspec.structs import replace
from patience import PATIENCE_S

from piecework.protocol.messages import Grants, ValueSet
from piecework.worker_agent.guests.entry_desk import WAITING_MAX, EntryDesk
from piecework.worker_agent.guests.frames import Ask, Ready, Told, pack, read_commands, read_reports
from piecework.worker_agent.guests.pool import Pool
from piecework.worker_agent.guests.slot import Policy
from piecework.worker_agent.runtimes.services.entries import EntryAnswer, EntryFault, EntryRequest, NoEntries

READ, WRITTEN = EntryRequest("get", 7, "k"), EntryRequest("set", 7, "k", ValueSet(value="v"))


class Kept:
    """Keys and values that answer when they are told to."""

    def __init__(self):
        self.go_on = threading.Event()
        self.asked = []

    def perform(self, request, _until, is_wanted):
        self.asked.append((request, is_wanted()))
        assert self.go_on.wait(PATIENCE_S)
        return EntryAnswer(b"value")


@pytest.fixture
def ask_of(make_task):
    """Return a function that has a request answered, and returns the answer."""

    def ask(request, *, grants=None, seed=None, entries=None):
        heard, done = [], threading.Event()
        task = replace(make_task().task, grants=grants, seed=seed)
        desk = EntryDesk(entries or NoEntries(), 1)
        desk.take(Ask(3, 1, request), task, lambda: True, lambda told: (heard.append(told), done.set()))
        assert done.wait(PATIENCE_S)
        assert heard[0].key == 3
        return heard[0].answer

    return ask


def test_answer_comes_from_another_thread(ask_of):
    kept = Kept()
    kept.go_on.set()
    assert ask_of(READ, grants=Grants(kv=["n=7"]), entries=kept) == EntryAnswer(b"value")
    assert kept.asked == [(READ, True)]


@pytest.mark.parametrize(
    ("request_", "grants", "seed"),
    [
        (READ, None, None),
        (READ, Grants(), None),
        (READ, Grants(kv=["8:rw"]), None),
        (WRITTEN, Grants(kv=["7"]), None),
        (replace(WRITTEN, act="delete"), Grants(kv=["n=7:ro", "8:rw"]), None),
        (READ, Grants(kv=["7:rw"]), b"seed"),
    ],
)
def test_agent_looks_at_grants_whatever_the_process_says(ask_of, request_, grants, seed):
    kept = Kept()
    assert ask_of(request_, grants=grants, seed=seed, entries=kept).fault is EntryFault.DENIED
    assert kept.asked == []


def test_where_there_is_no_server_guests_are_told(ask_of):
    assert ask_of(WRITTEN, grants=Grants(kv=["7:rw"])).fault is EntryFault.AWAY


def test_failure_of_the_agent_is_an_answer(ask_of):
    class Broken:
        def perform(self, *_):
            raise ZeroDivisionError

    assert ask_of(READ, grants=Grants(kv=["7"]), entries=Broken()).fault is EntryFault.UNSURE


def test_no_process_has_more_than_a_few_requests(make_task):
    kept, heard = Kept(), []
    desk, task = EntryDesk(kept, 1), replace(make_task().task, grants=Grants(kv=["7"]))
    all_told = threading.Semaphore(0)

    def tell(told):
        heard.append(told)
        all_told.release()

    for number in range(WAITING_MAX + 1):
        desk.take(Ask(3, number, READ), task, lambda: True, tell)
    assert [(told.number, told.answer.fault) for told in heard] == [(WAITING_MAX, EntryFault.AWAY)]
    kept.go_on.set()
    for _ in range(WAITING_MAX + 1):
        assert all_told.acquire(timeout=PATIENCE_S)
    assert {told.number for told in heard[1:]} == set(range(WAITING_MAX))


def test_slot_passes_on_what_the_guest_of_its_task_wants(make_assignment):
    pool = Pool(Policy(), 1)
    [slot] = pool.slots
    slot.start()
    slot.started(1000.0)
    slot.hear([Ready(0)], 1000.0)
    task = make_assignment()
    pool.add([task], 1000.0)
    ask = Ask(task.key, 1, READ)
    slot.hear([Ask(task.key + 99, 1, READ), ask], 1000.0)
    assert pool.take_asked() == [(slot, task, ask)]
    assert pool.take_asked() == []


def test_told_frame_travels_as_it_is():
    told = Told(3, 1, EntryAnswer(b"\0\xff", EntryFault.NO_VALUE))
    assert list(read_commands().feed(pack(told))) == [told]
    removal, listing = EntryRequest("delete", 2**62, "é", None, "old"), EntryRequest("keys", 7, "", after="x")
    for request in (READ, WRITTEN, removal, listing):
        assert list(read_reports().feed(pack(Ask(3, 1, request)))) == [Ask(3, 1, request)]
