"""Each function for keys and values, made directly: what it answers, and what it leaves undone for bad input."""

import struct

import pytest
import wasmtime

from piecework.modules.kv import KV_FUNCTIONS, KV_INTERFACE
from piecework.protocol.messages import Grants, ValueSet
from piecework.worker_agent.guests.frames import Ask, Told, pack, read_commands, read_reports
from piecework.worker_agent.runtimes.base import Build
from piecework.worker_agent.runtimes.services import ANSWER_BYTES
from piecework.worker_agent.runtimes.services.access import NodeRules, Permissions
from piecework.worker_agent.runtimes.services.entries import EntryAnswer, EntryRequest
from piecework.worker_agent.runtimes.wasi.calls.kv_calls import APPEND, IF_ABSENT, IF_VALUE, OLD
from piecework.worker_agent.runtimes.wasi.errno import Errno
from piecework.worker_agent.runtimes.wasi.host import WasiHost
from piecework.worker_agent.serving.entries import MemoryEntries

MEMORY_BYTES = 64 * 65_536
SIZE, TOTAL, ROOM = 3_000_000, 3_000_008, 3_100_000
KEEP = -1
EACCES, EAGAIN, ECANCELED, EDOM, EFBIG, EILSEQ, EINVAL, ENOENT = 2, 6, 11, 18, 22, 25, 28, 44
GRANTS = Grants(kv=["c=7:rw", "seen=8"])
BOTH = (b"c", b"k")


@pytest.fixture(scope="module")
def host(toolchain):
    return WasiHost(toolchain.make_linkage(Build()))


@pytest.fixture(scope="module")
def probe_module(toolchain):
    lines = ['(memory (export "memory") 64)']
    for name, kind in KV_FUNCTIONS.items():
        kinds = " ".join({"i": "i32", "I": "i64"}[letter] for letter in kind.partition(">")[0])
        lines.insert(0, f'(import "{KV_INTERFACE}" "{name}" (func ${name} (param {kinds}) (result i32)))')
        lines.append(f'(export "{name}" (func ${name}))')
    return wasmtime.Module(toolchain.engine(Build()), f"(module {' '.join(lines)})")


class Hand:
    """A guest that puts texts into its memory and calls."""

    def __init__(self, probe, entries):
        self.probe = probe
        self.asked = []

        def ask(request):
            [arrived] = read_reports().feed(pack(Ask(1, 1, request)))
            self.asked.append(arrived.request)
            answer = entries.perform(arrived.request, 0.0, lambda: True)
            [told] = read_commands().feed(pack(Told(1, 1, answer)))
            return told.answer

        probe.guest.call.ask_entries = ask

    def call(self, name, texts, *numbers):
        """Call with these texts in the places of pairs; bytes among the numbers are such pairs, too."""
        place, arguments = 0, []
        for each in (*texts, *numbers):
            if isinstance(each, bytes):
                self.probe.put(place, each)
                arguments += [place, len(each)]
                place += len(each)
            else:
                arguments.append(each)
        return self.probe.call(name, *arguments)

    def set(self, key, value, flags=0, expire_ms=KEEP, expected=b"", space=b"c"):
        return self.call("kv_set", (space, key, value), flags, expire_ms, expected, SIZE)

    def get(self, key, space=b"c"):
        return self.call("kv_get", (space, key), SIZE)

    def answer(self):
        size = self.probe.get_u32(SIZE)
        assert self.probe.call("kv_answer", ROOM, size) == size
        return self.probe.get(ROOM, size)


@pytest.fixture
def make_hand(make_probe):
    def make(grants=GRANTS, *, sealed=False, entries=None):
        access = Permissions.of(grants, NodeRules(), "owner", sealed=sealed)
        return Hand(make_probe(access=access), entries or MemoryEntries())

    return make


@pytest.fixture
def hand(make_hand):
    return make_hand()


def test_value_comes_back_as_it_was_set(hand):
    assert hand.set("schlüssel/1".encode(), "zwei\nZeilen 😀".encode()) == 0
    assert hand.answer() == "zwei\nZeilen 😀".encode()
    assert hand.get("schlüssel/1".encode()) == 0
    assert hand.answer() == "zwei\nZeilen 😀".encode()
    assert hand.get(b"other") == ENOENT
    assert b"other" in hand.answer()


def test_answer_is_cut_where_the_room_ends(hand):
    hand.set(b"k", b"0123456789")
    hand.get(b"k")
    assert hand.probe.call("kv_answer", ROOM, 4) == 4
    assert hand.probe.get(ROOM, 5) == b"0123\0"
    assert hand.probe.call("kv_answer", ROOM, -1) == 10
    assert hand.probe.call("kv_answer", MEMORY_BYTES - 4, 10) % 2**32 == 2**32 - 1


def test_flags_do_as_they_say(hand):
    assert (hand.set(b"k", b"a"), hand.set(b"k", b"b", APPEND), hand.answer()) == (0, 0, b"ab")
    assert (hand.set(b"k", b"c", OLD), hand.answer()) == (0, b"ab")
    assert hand.set(b"k", b"d", IF_ABSENT) == ECANCELED
    assert hand.set(b"k", b"d", IF_VALUE, expected=b"x") == ECANCELED
    assert (hand.set(b"k", b"d", IF_VALUE | OLD, expected=b"c"), hand.answer()) == (0, b"c")
    assert hand.call("kv_delete", BOTH, IF_VALUE, b"x") == ECANCELED
    assert hand.call("kv_delete", BOTH, IF_VALUE, b"d") == 0
    assert hand.call("kv_delete", BOTH, 0, b"") == ENOENT
    assert [hand.set(b"k", b"", flags) for flags in (16, -1, IF_ABSENT | IF_VALUE)] == [EINVAL] * 3
    assert hand.call("kv_delete", BOTH, OLD, b"") == EINVAL


def test_numbers_are_added_with_their_signs(hand):
    def add(amount):
        fault = hand.call("kv_add", BOTH, amount, KEEP, TOTAL)
        return fault, struct.unpack("<q", hand.probe.get(TOTAL, 8))[0]

    assert [add(5), add(-7), add(2**63 - 1)] == [(0, 5), (0, -2), (0, 2**63 - 3)]
    assert add(2**63 - 1) == (EDOM, 0)
    hand.set(b"k", b"word")
    assert add(1) == (EDOM, 0)


def test_time_to_live_is_passed_on(hand):
    hand.set(b"k", b"v", expire_ms=1500)
    hand.set(b"k", b"v", expire_ms=0)
    hand.set(b"k", b"v", expire_ms=KEEP)
    assert [request.change.expire for request in hand.asked] == [1.5, 0.0, None]


def test_keys_are_listed_page_by_page(make_hand):
    entries = MemoryEntries()
    for key in [*(f"n{number:04}" for number in range(1003)), "other"]:
        entries.perform(EntryRequest("set", 7, key, ValueSet(value="")), 0.0, lambda: True)
    hand = make_hand(entries=entries)

    def page(after):
        assert hand.call("kv_keys", (b"c", b"n", after), SIZE) == 0
        return hand.answer().split(b"\0")[:-1]

    first = page(b"")
    assert (len(first), first[0], first[-1]) == (1000, b"n0000", b"n0999")
    assert page(first[-1]) == [b"n1000", b"n1001", b"n1002"]
    assert page(b"n1002") == []


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        (b"", EINVAL),
        (b".", EINVAL),
        (b"..", EINVAL),
        (b"k" * 513, EINVAL),
        (b"k" * 10_000, EINVAL),
        (b"a\0b", EINVAL),
        (b"\xff\xfe", EILSEQ),
        (b"\xed\xa0\x80", EILSEQ),
    ],
)
def test_what_is_no_key_is_never_asked_for(hand, key, fault):
    assert hand.set(key, b"v") == fault
    assert hand.get(key) == fault
    assert hand.call("kv_add", (b"c", key), 1, KEEP, TOTAL) == fault
    assert hand.call("kv_delete", (b"c", key), 0, b"") == fault
    assert hand.asked == []


@pytest.mark.parametrize(("value", "fault"), [(b"\xff", EILSEQ), (b"a\0", EINVAL), (b"v" * 1_048_577, EFBIG)])
def test_what_is_no_value_is_not_set(hand, value, fault):
    assert hand.set(b"k", value) == fault
    assert hand.get(b"k") == ENOENT


def test_size_is_looked_at_before_anything_is_copied(hand):
    hand.probe.put(0, b"c")
    assert hand.probe.call("kv_set", 0, 1, 0, 1, 0, ANSWER_BYTES + 1, 0, KEEP, 0, 0, SIZE) == EFBIG
    assert hand.probe.call("kv_get", 0, -1, 0, 1, SIZE) == EINVAL
    assert hand.probe.call("kv_keys", 0, 0, 0, 3000, 0, 0, SIZE) == EINVAL
    assert hand.asked == []


@pytest.mark.parametrize("name", [name for name in KV_FUNCTIONS if name != "kv_answer"])
def test_place_outside_of_memory_is_told_before_anything_is_done(hand, name):
    count = len(KV_FUNCTIONS[name].partition(">")[0])
    hand.probe.put(0, b"c")
    places = [0, 2] if name == "kv_delete" else [0, 2, count - 1]
    for wrong in places:
        numbers = [1 if place in {1, 3} else 0 for place in range(count)]
        if name != "kv_delete":
            numbers[-1] = SIZE
        numbers[wrong] = MEMORY_BYTES
        assert hand.probe.call(name, *numbers) == Errno.FAULT
    assert hand.asked == []


def test_only_what_is_granted_can_be_used(make_hand):
    hand = make_hand()
    assert hand.set(b"k", b"v", space=b"seen") == EACCES
    assert b"can only be read" in hand.answer()
    assert hand.get(b"k", space=b"seen") == ENOENT
    assert hand.set(b"k", b"v", space=b"more") == EACCES
    assert b"--grant-kv more=ID:rw gives it one" in hand.answer()
    for space in (b"other", b"7", b"", "ü".encode() * 100):
        assert hand.get(b"k", space=space) == EACCES
    _, log = hand.probe.log.read()
    assert b"kv_set denied: the namespace 'seen' can only be read; --grant-kv with :rw would allow more\n" in log
    assert (
        b"kv_get denied: the lambda has no grant for the namespace 'other'; --grant-kv other=ID gives it one"
        in log
    )
    assert [request.act for request in hand.asked] == ["get"]


def test_only_namespace_needs_no_name(make_hand):
    hand = make_hand(Grants(kv=["77:rw"]))
    assert hand.set(b"k", b"v", space=b"") == 0
    assert hand.get(b"k", space=b"77") == 0
    assert {request.namespace for request in hand.asked} == {77}


def test_without_a_grant_everything_is_denied(make_hand):
    assert make_hand(Grants()).set(b"k", b"v") == EACCES


def test_deterministic_guest_is_denied(make_hand):
    hand = make_hand(sealed=True)
    assert hand.get(b"k") == EACCES
    assert b"a deterministic lambda reaches nothing" in hand.answer()


def test_error_and_its_reason_reach_the_guest(make_hand):
    class Away:
        def perform(self, *_):
            return EntryAnswer(b"no answer from the server", EAGAIN)

    hand = make_hand(entries=Away())
    assert hand.get(b"k") == EAGAIN
    assert hand.answer() == b"no answer from the server"
