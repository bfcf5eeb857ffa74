"""Replays that are not like their records: the first difference is named. And journals that cannot be used."""

import struct

import pytest

from piecework.protocol.codes import ErrorKind
from piecework.receipts.journals import (
    End,
    Head,
    JournalEntry,
    JournalError,
    JournalReader,
    write_frame,
)
from piecework.worker_agent.runtimes.journal.player import OtherwiseError, Player
from piecework.worker_agent.runtimes.journal.recorder import Recorder
from piecework.worker_agent.runtimes.services.errors import DeniedError, ServiceError
from piecework.worker_agent.runtimes.stopping import StoppedError, StopReason, StopSignal
from piecework.worker_agent.runtimes.verdict import GuestFailedError
from piecework.worker_agent.tasks import File

CODE = b"import time; print(time.time_ns() % 10, time.monotonic_ns() % 10)"


CLOCK = JournalEntry("clock", b"REALTIME", b"7")


def nobody():
    raise AssertionError("somebody was asked")


def write_journal(*entries, cut=False):
    return b"".join(map(write_frame, (Head(), *entries, End(len(entries), cut))))


@pytest.fixture
def recorder(tmp_path):
    return Recorder(str(tmp_path / "journal"), StopSignal())


def test_what_was_recorded_is_given_again_without_asking(recorder):
    assert recorder.through("http", b"GET /", lambda: b"fine") == b"fine"
    for failure in (DeniedError("not you"), ServiceError("no answer"), GuestFailedError("it broke the rules")):
        with pytest.raises(type(failure)):
            recorder.through("http", b"GET /x", _raise(failure))
    player = Player(recorder.finish(), StopSignal())
    assert player.through("http", b"GET /", nobody) == b"fine"
    for kind, message in ((DeniedError, "not you"), (ServiceError, "no answer"), (GuestFailedError, "it broke")):
        with pytest.raises(kind, match=message):
            player.through("http", b"GET /x", nobody)
    assert player.find_difference() is None


def _raise(failure):
    def ask():
        raise failure

    return ask


def test_stop_in_a_host_call_comes_again(tmp_path):
    stop, again = StopSignal(), StopSignal()
    recorder = Recorder(str(tmp_path / "journal"), stop)
    stop.stop(StopReason.CANCELLED)
    with pytest.raises(StoppedError):
        recorder.through("sleep", b"1", stop.check)
    with pytest.raises(StoppedError):
        Player(recorder.finish(), again).through("sleep", b"1", nobody)
    assert again.reason is StopReason.CANCELLED


@pytest.mark.parametrize(
    ("kind", "asked", "byte", "message"),
    [
        (
            "http",
            b"GET /other",
            5,
            "asks for http b'GET /other', the record has http b'GET /path': they differ at byte 5",
        ),
        ("http", b"GET /pat", 8, "they differ at byte 8"),
        (
            "clock",
            b"REALTIME",
            None,
            "host call 2: the guest asks for clock b'REALTIME', the record has http b'GET /path'",
        ),
    ],
)
def test_first_difference_is_named(kind, asked, byte, message):
    player = Player(
        write_journal(CLOCK, JournalEntry("http", b"GET /path", b"x")),
        StopSignal(),
    )
    assert player.through("clock", b"REALTIME", nobody) == b"7"
    with pytest.raises(OtherwiseError):
        player.through(kind, asked, nobody)
    difference = player.find_difference()
    assert (difference.call, difference.byte) == (2, byte)
    assert message in difference.message
    # Whatever it asks for afterwards is refused with the first difference.
    with pytest.raises(OtherwiseError, match="host call 2"):
        player.through("http", b"GET /path", nobody)


@pytest.mark.parametrize(("cut", "why"), [(False, "the record has no more"), (True, "the record was cut here")])
def test_guest_that_asks_for_more_than_the_record_has(cut, why):
    player = Player(write_journal(cut=cut), StopSignal())
    with pytest.raises(OtherwiseError, match=f"host call 1: the guest asks for clock b'MONOTONIC', {why}"):
        player.through("clock", b"MONOTONIC", nobody)


def test_guest_that_asks_for_less_than_the_record_has():
    player = Player(write_journal(CLOCK, JournalEntry("sleep", b"1", b"")), StopSignal())
    player.through("clock", b"REALTIME", nobody)
    difference = player.find_difference()
    assert difference.call == 2
    assert difference.message == "host call 2: the guest ended, the record has 1 more host calls"


def test_long_questions_are_shown_around_the_difference():
    player = Player(write_journal(JournalEntry("file", b"x" * 500 + b"a" + b"x" * 500, b"")), StopSignal())
    with pytest.raises(OtherwiseError) as caught:
        player.through("file", b"x" * 500 + b"b" + b"x" * 500, nobody)
    assert len(str(caught.value)) < 400
    assert "they differ at byte 500" in str(caught.value)


def test_journal_that_is_full_is_cut_and_the_guest_goes_on(tmp_path):
    recorder = Recorder(str(tmp_path / "journal"), StopSignal(), limit_bytes=1000)
    for _ in range(100):
        assert recorder.through("http", b"GET /", lambda: b"x" * 50) == b"x" * 50
    journal = recorder.finish()
    assert recorder.cut
    assert len(journal) <= 1000
    reader = JournalReader(journal)
    assert reader.end.cut
    assert 0 < reader.end.entries < 100
    assert len([*reader.read()]) == reader.end.entries


def test_large_journal_is_a_file(tmp_path):
    recorder = Recorder(str(tmp_path / "journal"), StopSignal())
    recorder.through("http", b"GET /", lambda: b"x" * 2_000_000)
    path = recorder.finish()
    assert path == tmp_path / "journal"
    assert Player(path.read_bytes(), StopSignal()).through("http", b"GET /", nobody) == b"x" * 2_000_000


def test_disk_that_fails_costs_the_journal_and_not_the_run(tmp_path):
    recorder = Recorder(str(tmp_path / "missing" / "journal"), StopSignal())
    assert recorder.through("http", b"GET /", lambda: b"x" * 2_000_000) == b"x" * 2_000_000
    assert recorder.cut


WHOLE = write_journal(CLOCK, JournalEntry("sleep", b"1", b""))


@pytest.mark.parametrize(
    ("journal", "message"),
    [
        (b"", "the journal is empty"),
        (b"\x01", "cut short: it ends in its first frame"),
        (b"no journal at all", "cut short: it ends in its first frame"),
        (struct.pack("<I", 3) + b"abc", "it is no journal: its first frame cannot be read"),
        (WHOLE[:-1], "the journal is cut short: it ends after 2 entries"),
        (WHOLE[: -len(write_frame(End(2)))], "the journal is cut short: it has no end after 2 entries"),
        (WHOLE[:-1] + b"\x09", "damaged|cut short"),
        (write_frame(Head(2)) + write_frame(End(0)), "the journal has version 2; this worker reads version 1"),
        (write_frame(Head()) + write_frame(End(5)), "it has 0 entries, and says that it has 5"),
        (bytes(17 * 1024 * 1024), "a journal has at most"),
    ],
)
def test_journal_that_cannot_be_used_says_why(journal, message):
    with pytest.raises(JournalError, match=message):
        JournalReader(journal)


def test_every_beginning_of_a_journal_is_told_to_be_cut_short():
    for size in range(1, len(WHOLE)):
        with pytest.raises(JournalError, match=r"cut short|no journal"):
            JournalReader(WHOLE[:size])


def test_flipped_bytes_never_pass_for_another_journal():
    read = [*JournalReader(WHOLE).read()]
    for place in range(len(WHOLE)):
        for bit in range(8):
            changed = bytearray(WHOLE)
            changed[place] ^= 1 << bit
            try:
                found = [*JournalReader(bytes(changed)).read()]
            except JournalError:
                continue
            assert found != read or JournalReader(bytes(changed)).end != JournalReader(WHOLE).end


def test_replay_of_a_cut_journal_says_so_before_anything_runs(record):
    recording = record(CODE, runtime="python3.12")
    done = recording.replay(recording.done.journal[:-3])
    assert done.error.kind is ErrorKind.INPUT
    assert done.error.message.startswith("the journal cannot be used: the journal is cut short")


@pytest.mark.slow
def test_replay_reads_a_journal_from_its_file(record, tmp_path):
    recording = record(CODE, runtime="python3.12")
    (tmp_path / "kept").write_bytes(recording.done.journal)
    recording.check(journal=File(str(tmp_path / "kept")))
    done = recording.replay(File(str(tmp_path / "none")))
    assert done.error.message.startswith("the journal cannot be used: [Errno 2]")


@pytest.mark.slow
def test_guest_that_asks_in_another_order_is_found(record, build_text):
    code = b"import time, sys; a = (time.time_ns, time.monotonic_ns)[::int(sys.argv[1])]; print(a[0](), a[1]())"
    recording = record(code, runtime="python3.12", args=("1",))
    again = recording.replay(args=("-1",))
    assert again.difference.byte == 0
    assert "the guest asks for clock b'MONOTONIC', the record has clock b'REALTIME'" in again.difference.message
    assert again.error.message == again.difference.message


@pytest.mark.slow
def test_answer_that_was_changed_shows_where_the_guest_does_something_else(record, change):
    code = b"import time; time.sleep((5 + time.time_ns() % 10) / 1000)"
    recording = record(code, runtime="python3.12")
    place = max(n for n, each in enumerate(recording.entries) if each.asked == b"REALTIME")
    kept = int(recording.entries[place].answer)
    other = kept - 1 if kept % 10 else kept + 1
    again = recording.replay(change(recording.done.journal, place, answer=b"%d" % other))
    assert "the guest asks for sleep" in again.difference.message
    assert again.difference.byte is not None


@pytest.mark.slow
def test_answer_that_makes_no_sense_ends_the_guest(record, change):
    recording = record(CODE, runtime="python3.12")
    place = max(n for n, each in enumerate(recording.entries) if each.kind == "clock")
    again = recording.replay(change(recording.done.journal, place, answer=b"soon"))
    assert "the journal is damaged: b'soon' is no number" in again.error.message
