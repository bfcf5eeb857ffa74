"""Calls that guest processes get ahead of their turn, and where they are done when that turn does not come."""

import asyncio
import os
import select
import signal
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count

import pytest
from guest_texts import BY_BODY, build
from patience import until

from piecework.http.exchange import Request
from piecework.worker_agent.guests.frames import Serving
from piecework.worker_agent.guests.process import GuestProcess
from piecework.worker_agent.runtimes.base import Bounds
from piecework.worker_agent.serving.calls import (
    AHEAD_BYTES,
    CALLS,
    BusyError,
    CallExecutor,
    LostError,
    OverdueError,
)
from piecework.worker_agent.serving.function import Function
from piecework.worker_agent.serving.log_writer import LogWriter

pytestmark = pytest.mark.integration
WITHIN_S = 15.0
QUICK_S = 0.25
"""Also where others have the machine to themselves, less than a call takes that waits."""
QUICK, WAIT = b"quick", b"wait"


async def happens(condition):
    await asyncio.to_thread(until, condition, WITHIN_S)


class Crew:
    """Some guest processes, which have done a few quick calls: so they get quick ones ahead."""

    def __init__(self, folder, processes, queue, policy):
        (folder / "function.wasm").write_bytes(build(BY_BODY))
        function = Function(file=folder / "function.wasm", mode="http", bounds=Bounds(timeout_s=1.5))
        self.folder = folder
        self.log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
        self.log_writer = LogWriter(self.log)
        self.numbers = count(1)
        self.executor = CallExecutor(
            function.read(folder), self.launch, self.log_writer, processes=processes, queue=queue, policy=policy
        )
        self.slots = self.executor._pool.slots

    def launch(self):
        return GuestProcess(compiled=self.folder, last_words=self.folder / f"{next(self.numbers)}.stderr")

    @property
    def queue(self):
        return self.executor._pool.queue

    def process(self, place=0):
        return self.executor._processes[self.slots[place]]

    def make(self, body):
        return self.executor.version.assign(Serving(Request("POST", "/", (), body)))

    def call(self, body, hang_up=None):
        """Have a call begun, after those before."""
        return asyncio.ensure_future(self.executor.perform(self.make(body), WITHIN_S, hang_up))

    async def recover(self):
        """Wait until all processes are there."""
        await happens(lambda: all(slot.is_ready for slot in self.slots))

    async def begin(self):
        """Let the calls be handed out; tell how many each process has."""
        await asyncio.sleep(0)
        return [slot.load for slot in self.slots]

    async def begin_first(self):
        """Wait until a process works on the first of its calls; return the process."""
        process, key = self.process(), self.slots[0].tasks[0].key
        await happens(lambda: process.working_on == key)
        return process

    def count_logged(self, word):
        """Tell how often a word was logged; nothing is called any more."""
        self.log_writer.close()
        return (self.folder / "log").read_text().split().count(word.decode())


@asynccontextmanager
async def crew_of(folder, processes, queue=8, **policy):
    crew = Crew(folder, processes, queue, replace(CALLS, **{"quick_s": QUICK_S, **policy}))
    await crew.executor.open()
    try:
        await crew.recover()
        for _ in range(8):
            await asyncio.gather(*[crew.call(b"ready") for _ in range(processes)])
        yield crew
        await crew.recover()
    finally:
        await crew.executor.close()
        crew.log_writer.close()
        os.close(crew.log)


def runs_in_a_loop(test):
    def run(tmp_path):
        asyncio.run(test(tmp_path))

    run.__name__ = test.__name__
    return run


@runs_in_a_loop
async def test_quick_processes_get_one_more_call_while_all_are_busy(folder):
    async with crew_of(folder, 2) as crew:
        calls = [crew.call(QUICK) for _ in range(7)]
        assert await crew.begin() == [2, 2]
        assert len(crew.queue) == 3
        assert {(await call).response.body for call in calls} == {b"seen"}
        assert [slot.load for slot in crew.slots] == [0, 0]


@runs_in_a_loop
async def test_call_does_not_stay_behind_one_that_takes_long(folder):
    async with crew_of(folder, 2) as crew:
        slow, *quick = [crew.call(body) for body in (WAIT, QUICK, QUICK, QUICK)]
        assert await crew.begin() == [2, 2]
        await asyncio.gather(*quick)
        assert not slow.done()
        assert (await slow).result.error is None


@runs_in_a_loop
async def test_processes_that_were_slow_get_no_call_ahead_and_none_a_large_one(folder):
    async with crew_of(folder, 1) as crew:
        for size, loads in ((AHEAD_BYTES, [2]), (AHEAD_BYTES + 1, [1])):
            calls = [crew.call(body) for body in (QUICK, b"q" * size)]
            assert await crew.begin() == loads
            await asyncio.gather(*calls)
        for _ in range(2):
            await crew.call(WAIT)
        calls = [crew.call(QUICK) for _ in range(2)]
        assert await crew.begin() == [1]
        await asyncio.gather(*calls)


@runs_in_a_loop
async def test_process_that_does_not_take_what_it_was_sent_gets_nothing_ahead(folder):
    async with crew_of(folder, 1) as crew:
        process = crew.process()
        os.kill(process.pid, signal.SIGSTOP)
        calls = [crew.call(b"q" * 8_000_000), crew.call(QUICK)]
        assert await crew.begin() == [1]
        assert process.has_mail
        os.kill(process.pid, signal.SIGCONT)
        await asyncio.gather(*calls)
        assert not process.has_mail


@runs_in_a_loop
async def test_calls_ahead_count_as_waiting(folder):
    for queue in (0, 1):
        async with crew_of(folder, 1, queue=queue) as crew:
            calls = [crew.call(QUICK) for _ in range(3)]
            ends = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(end) is BusyError for end in ends] == [False, queue == 0, True]


@runs_in_a_loop
async def test_death_costs_the_call_that_had_begun_and_no_other(folder):
    async with crew_of(folder, 1) as crew:
        slow, ahead = crew.call(WAIT), crew.call(QUICK)
        assert await crew.begin() == [2]
        process = await crew.begin_first()
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(LostError, match="the process ended while running the guest: SIGKILL"):
            await slow
        assert (await ahead).response.body == b"seen"
        assert crew.count_logged(QUICK) == 1


@runs_in_a_loop
async def test_kill_by_the_time_limit_costs_the_call_that_had_begun_and_no_other(folder):
    async with crew_of(folder, 1) as crew:
        slow, ahead = crew.call(WAIT), crew.call(QUICK)
        assert await crew.begin() == [2]
        process = await crew.begin_first()
        os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(OverdueError):
            await slow
        assert (await ahead).response.body == b"seen"
        assert crew.count_logged(QUICK) == 1


@runs_in_a_loop
async def test_time_limit_counts_from_the_beginning_of_each_call(folder):
    async with crew_of(folder, 1, quick_s=5.0, grace_s=0.2) as crew:
        calls = [crew.call(WAIT) for _ in range(2)]
        assert await crew.begin() == [2]
        assert [(await call).result.error for call in calls] == [None, None]


@runs_in_a_loop
async def test_call_ahead_whose_caller_hung_up_is_done_nowhere(folder):
    async with crew_of(folder, 1) as crew:
        process = crew.process()
        os.kill(process.pid, signal.SIGSTOP)
        first, ahead = crew.call(b"first"), crew.call(QUICK, hang_up=lambda: asyncio.sleep(0))
        assert await crew.begin() == [2]
        await happens(lambda: crew.slots[0].tasks[1].halted)
        os.kill(process.pid, signal.SIGCONT)
        with pytest.raises(BusyError):
            await ahead
        await first
        assert crew.count_logged(QUICK) == 0


@runs_in_a_loop
async def test_call_that_is_given_back_keeps_its_place(folder):
    async with crew_of(folder, 1) as crew:
        bodies, ended = [WAIT, b"first", b"second", b"third"], []
        calls = [crew.call(body) for body in bodies]
        for call, body in zip(calls, bodies, strict=True):
            call.add_done_callback(lambda _, body=body: ended.append(body))
        await happens(lambda: len(crew.queue) == 3)
        await asyncio.gather(*calls)
        assert ended == bodies


@runs_in_a_loop
async def test_call_that_ended_unheard_before_the_one_that_a_process_died_in_is_not_done_again(folder):
    async with crew_of(folder, 1) as crew:
        process = crew.process()
        os.kill(process.pid, signal.SIGSTOP)
        calls = [crew.call(QUICK) for _ in range(2)]
        assert await crew.begin() == [2]
        process._marker.set(crew.slots[0].tasks[1].key)
        os.kill(process.pid, signal.SIGKILL)
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(end) for end in ends] == [LostError, LostError]


@runs_in_a_loop
async def test_answer_that_came_in_time_is_heard_before_a_process_is_given_up(folder):
    async with crew_of(folder, 1) as crew:
        process = crew.process()
        call = crew.call(QUICK)
        assert await crew.begin() == [1]
        asyncio.get_running_loop().remove_reader(process.link)
        await happens(lambda: bool(select.select([process.link], [], [], 0)[0]))
        crew.slots[0].tasks[0].deadline_at = 0.0
        assert (await call).response.body == b"seen"


@runs_in_a_loop
async def test_process_that_dies_while_it_has_nothing_to_do_is_replaced(folder):
    async with crew_of(folder, 2) as crew:
        pid = crew.process().pid
        os.kill(pid, signal.SIGKILL)
        await happens(lambda: not crew.slots[0].is_ready)
        assert (await crew.call(QUICK)).response.body == b"seen"
        await crew.recover()
        assert crew.process().pid != pid


@runs_in_a_loop
async def test_caller_who_is_cancelled_has_the_call_stopped(folder):
    async with crew_of(folder, 1) as crew:
        call = crew.call(WAIT)
        assert await crew.begin() == [1]
        process = await crew.begin_first()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await happens(lambda: not crew.slots[0].tasks)
        assert crew.process() is process
