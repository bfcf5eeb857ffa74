"""Calls that guest processes get ahead of their turn, and where they are done when that turn does not come."""

import asyncio
import math
import os
import select
import signal
from contextlib import asynccontextmanager

import pytest
from guest_texts import BY_BODY, build
from patience import until

from piecework.http.exchange import Request
from worker_agent.guests.frames import Serving
from worker_agent.guests.process import GuestProcess
from worker_agent.runtimes.base import Bounds
from worker_agent.serving import attendant as attendant_module, attendants as attendants_module
from worker_agent.serving.attendant import AHEAD_BYTES, LostError, OverdueError
from worker_agent.serving.attendants import Attendants, BusyError
from worker_agent.serving.function import Function
from worker_agent.serving.journal import Journal

pytestmark = pytest.mark.integration
WITHIN_S = 15.0
QUICK_S = 0.25
"""Also where others have the machine to themselves, less than a call takes that waits."""
QUICK, WAIT = b"quick", b"wait"


async def happens(condition):
    await asyncio.to_thread(until, condition, WITHIN_S)


class Crew:
    """Some guest processes, which have done a few quick calls: so they get quick ones ahead."""

    def __init__(self, folder, count, queue):
        (folder / "function.wasm").write_bytes(build(BY_BODY))
        function = Function(file=folder / "function.wasm", mode="http", bounds=Bounds(timeout_s=1.5))
        self.folder = folder
        self.log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
        self.journal = Journal(self.log)
        self.count = count
        self.attendants = Attendants(function, self.launch, self.journal, processes=count, queue=queue)

    def launch(self, words):
        return GuestProcess(compiled=self.folder, last_words=words)

    @property
    def all(self):
        return list(self.attendants._all)

    def make(self, body):
        return self.attendants.version.assign(Serving(Request("POST", "/", (), body)))

    def call(self, body, hang_up=None):
        """Have a call begun, after those before."""
        return asyncio.ensure_future(self.attendants.perform(self.make(body), WITHIN_S, hang_up))

    async def recover(self):
        """Wait until all processes are there."""
        await happens(lambda: sum(each.ready and not each.lost for each in self.all) == self.count)

    async def begin(self):
        """Let the calls be handed out; tell how many each process has."""
        await asyncio.sleep(0)
        return [each.load for each in self.all]

    def count_logged(self, word):
        """Tell how often a word was logged; nothing is called any more."""
        self.journal.close()
        return (self.folder / "log").read_text().split().count(word.decode())


@asynccontextmanager
async def crew_of(folder, count, queue=8):
    crew = Crew(folder, count, queue)
    patch = pytest.MonkeyPatch()
    for module in (attendant_module, attendants_module):
        patch.setattr(module, "QUICK_S", QUICK_S)
    await crew.attendants.open()
    try:
        await crew.recover()
        for _ in range(8):
            await asyncio.gather(*[crew.call(b"ready") for _ in range(count)])
        yield crew
        await crew.recover()
    finally:
        await crew.attendants.close()
        crew.journal.close()
        os.close(crew.log)
        patch.undo()


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
        assert len(crew.attendants._waiting) == 3
        assert {(await call).response.body for call in calls} == {b"seen"}
        assert [each.load for each in crew.all] == [0, 0]


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
        [attendant] = crew.all
        busy = crew.call(QUICK)
        assert await crew.begin() == [1]
        assert attendant.takes(crew.make(b"q" * AHEAD_BYTES))
        assert not attendant.takes(crew.make(b"q" * (AHEAD_BYTES + 1)))
        await busy
        for _ in range(2):
            await crew.call(WAIT)
        busy = crew.call(QUICK)
        assert await crew.begin() == [1]
        assert not attendant.takes(crew.make(QUICK))
        await busy


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
        [attendant] = crew.all
        slow, ahead = crew.call(WAIT), crew.call(QUICK)
        assert await crew.begin() == [2]
        await happens(lambda: attendant.process.working_on == attendant._calls[0].task.key)
        os.kill(attendant.process.pid, signal.SIGKILL)
        with pytest.raises(LostError, match="SIGKILL"):
            await slow
        assert (await ahead).response.body == b"seen"
        assert attendant.process.working_on == attendant._calls[0].task.key
        assert crew.count_logged(QUICK) == 1


@runs_in_a_loop
async def test_kill_by_the_time_limit_costs_the_call_that_had_begun_and_no_other(folder):
    async with crew_of(folder, 1) as crew:
        [attendant] = crew.all
        slow, ahead = crew.call(WAIT), crew.call(QUICK)
        assert await crew.begin() == [2]
        await happens(lambda: attendant.process.working_on == attendant._calls[0].task.key)
        os.kill(attendant.process.pid, signal.SIGSTOP)
        with pytest.raises(OverdueError):
            await slow
        assert (await ahead).response.body == b"seen"
        assert crew.count_logged(QUICK) == 1


@runs_in_a_loop
async def test_time_limit_counts_from_the_beginning_of_each_call(folder):
    async with crew_of(folder, 1) as crew:
        [attendant] = crew.all
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(attendant_module, "GRACE_S", 0.2)
            answers = [attendant.give(crew.make(WAIT)) for _ in range(2)]
            ends = [await answer for answer in answers]
        assert [end.result.error for end in ends] == [None, None]


@runs_in_a_loop
async def test_call_ahead_whose_caller_hung_up_is_done_nowhere(folder):
    async with crew_of(folder, 1) as crew:
        [attendant] = crew.all
        os.kill(attendant.process.pid, signal.SIGSTOP)
        first, ahead = crew.call(b"first"), crew.call(QUICK, hang_up=lambda: asyncio.sleep(0))
        assert await crew.begin() == [2]
        await happens(lambda: crew.attendants._has_left(attendant._calls[1].task.key))
        os.kill(attendant.process.pid, signal.SIGCONT)
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
        await happens(lambda: len(crew.attendants._waiting) == 3)
        await asyncio.gather(*calls)
        assert ended == bodies


@runs_in_a_loop
async def test_call_that_ended_unheard_before_the_one_that_a_process_died_in_is_not_done_again(folder):
    async with crew_of(folder, 1) as crew:
        [attendant] = crew.all
        os.kill(attendant.process.pid, signal.SIGSTOP)
        calls = [crew.call(QUICK) for _ in range(2)]
        assert await crew.begin() == [2]
        attendant.process._marker.set(attendant._calls[1].task.key)
        os.kill(attendant.process.pid, signal.SIGKILL)
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(end) for end in ends] == [LostError, LostError]


@runs_in_a_loop
async def test_answer_that_came_in_time_is_heard_before_a_process_is_given_up(folder):
    async with crew_of(folder, 1) as crew:
        [attendant] = crew.all
        answer = attendant.give(crew.make(QUICK))
        asyncio.get_running_loop().remove_reader(attendant.process.link)
        await happens(lambda: bool(select.select([attendant.process.link], [], [], 0)[0]))
        attendant.look(math.inf)
        assert answer.result().response.body == b"seen"
        await crew.attendants._bury(attendant, OverdueError())
