"""The queue's promises (docs/queue.md) under random histories: workers that lie, stall, repeat and vanish."""

import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from house import House, failed, finished
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import text
from tries import tries

from piecework.protocol.messages import ContractRequest
from piecework.protocol.states import NEXT_STATES, JobState
from piecework.server.services.queue.waiting.pauses import wait_out

FINAL = {"Finished", "Fail_Execution", "Cancelled"}


class Queue(RuleBasedStateMachine):
    """Does to a server whatever clients may do, in any order, and looks at every row after each step."""

    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.house = House(Path(self.folder.name), settings={"vanished_max": 2})
        self.acknowledged: dict[str, dict] = {}
        self.accepted: dict[str, str] = {}
        self.final: dict[str, str] = {}
        self.attempts: dict[str, int] = {}
        """What jobs may have that were run again."""
        self.pause = threading.Event()

    def teardown(self) -> None:
        self.check_trails()
        self.drain()
        self.check_trails()
        self.house.close()
        self.folder.cleanup()

    @initialize()
    def furnish(self) -> None:
        self.lambda_ = self.house.new_lambda()
        self.workers = [self.house.new_worker(incarnation="0") for _ in range(3)]

    @rule(
        attempts=st.integers(1, 3), delay=st.sampled_from([0, 0, 5]), priority=st.integers(-1, 1),
        key=st.sampled_from([None, None, "a", "b"]), paused=st.booleans(),
    )  # fmt: skip
    def submit(self, attempts, delay, priority, key, paused):
        body = {
            "lambda": self.lambda_,
            "max_attempts": attempts,
            "delay_s": delay,
            "priority": priority,
            "key": key,
        }
        if paused:
            body["status"] = "paused"
        reply = self.house.call("POST", "/job", body, status=None)
        if reply["status"] == "ok":
            self.acknowledged.setdefault(reply["id"], body)

    @rule(target=leases, who=st.integers(0, 2), room=st.integers(1, 3), start=st.sampled_from("000001"))
    def contract(self, who, room, start):
        reply = self.house.contract(self.workers[who], max=room, incarnation=start)
        return [(self.workers[who], {"job": job["job"], "lease": job["lease"]}) for job in reply["jobs"]]

    @rule(target=leases, who=st.integers(0, 2), attempts=st.integers(1, 3), key=st.sampled_from([None, "a", "b"]))
    def submit_to_a_sleeper(self, who, attempts, key):
        """A worker waits at the server while a job comes, which it gets if nothing is before it."""
        worker, waiters = self.workers[who], self.house.services.waiters
        request = ContractRequest(max=1, timeout=20.0, incarnation="0")
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(wait_out, self.house.services.contracts.contract(int(worker), request))
            while not asked.done() and not any(each.take_turn for each in list(waiters._parked)):
                self.pause.wait(0.0005)
            self.submit(attempts=attempts, delay=0, priority=0, key=key, paused=False)
            while not asked.done():
                waiters.dismiss(int(worker))
                self.pause.wait(0.0005)
        contracted = asked.result()
        return [(worker, {"job": str(job.id), "lease": job.lease}) for job in contracted.jobs]

    @rule(held=leases, lie=st.booleans())
    def finish(self, held, lie):
        for worker, lease in held:
            sent = {**lease, "lease": "forged"} if lie else lease
            self.report(worker, finished(sent, f"{worker}/{sent['lease']}"))

    @rule(held=leases, kind=st.sampled_from(["guest", "trap", "timeout", "load", "worker"]))
    def fail(self, held, kind):
        for worker, lease in held:
            self.report(worker, failed(lease, kind))

    @rule(held=leases)
    def hand_back(self, held):
        for worker, lease in held:
            self.report(worker, {**lease, "state": "Enqueued"})

    def report(self, worker, outcome):
        before = self.house.state(outcome["job"])
        reply = self.house.call("POST", f"/worker/{worker}/finish", {"outcomes": [outcome]}, status=None)
        accepted = reply["acks"][0]["code"] == 0 and before == "Running"
        if accepted and outcome["state"] == "Finished" and self.house.state(outcome["job"]) == "Finished":
            assert outcome["job"] not in self.accepted, "two results were accepted"
            self.accepted[outcome["job"]] = outcome["output"]["text"]

    @rule(held=leases)
    def beat(self, held):
        for worker, lease in held:
            self.house.call("POST", f"/worker/{worker}/heartbeat", {"leases": [lease]})

    @rule(seconds=st.sampled_from([1, 6, 16, 400]))
    def time_passes(self, seconds):
        self.house.clock.forward(seconds)

    @rule()
    def timekeeper_looks(self):
        self.house.move_on()

    @rule(pick=st.integers(0, 50), to=st.sampled_from(["cancelled", "paused", "enqueued"]))
    def steer(self, pick, to):
        if self.acknowledged:
            job = list(self.acknowledged)[pick % len(self.acknowledged)]
            self.house.call("POST", f"/job/{job}", {"status": to}, status=None)

    @rule(pick=st.integers(0, 50))
    def retry(self, pick):
        """Somebody has a job run again: it gets its attempts once more, and may come to another end."""
        if self.acknowledged:
            job = list(self.acknowledged)[pick % len(self.acknowledged)]
            may = self.house.state(job) in {"Fail_Execution", "Cancelled"}
            reply = self.house.call("POST", "/job/bulk", {"action": "retry", "ids": [job]})
            assert reply["changed"] == may
            if may:
                del self.final[job]
                self.attempts[job] = self.house.services.jobs.get(int(job)).max_attempts

    @invariant()
    def rows_keep_the_promises(self):
        with self.house.services.database.read() as connection:
            rows = {str(row.id): row for row in connection.execute(text("SELECT * FROM jobs"))}
        assert rows.keys() == self.acknowledged.keys()  # I1: nothing lost, nothing made up
        for id_, row in rows.items():
            if id_ in self.final:
                assert row.state == self.final[id_], "a final state changed"
            if row.state in FINAL:
                self.final[id_] = row.state
            most = self.attempts.get(id_, self.acknowledged[id_]["max_attempts"])
            assert row.attempt <= most + row.vanished  # I5

    def check_trails(self):
        for id_ in self.acknowledged:
            trail = [state for state, detail in self.house.trace(id_) if not detail.startswith("refused:")]
            assert trail[-1] == self.house.state(id_)  # I9
            assert trail.count("Finished") <= 1  # I2
            for state, following in pairwise(map(JobState, trail)):
                assert following in NEXT_STATES[state]
            if id_ in self.accepted:
                output = self.house.call("GET", f"/job/{id_}?output=inline")["output"]["text"]
                assert output == self.accepted[id_]  # I3

    def drain(self) -> None:
        """I6: when the faults stop, an honest worker ends every job."""
        worker = self.house.new_worker()
        for id_ in self.acknowledged:
            self.house.call("POST", f"/job/{id_}", {"status": "enqueued"}, status=None)
        for _ in range(40):
            self.house.clock.forward(400)
            leased = self.house.contract(worker, max=50)["jobs"]
            outcomes = [finished({"job": job["job"], "lease": job["lease"]}) for job in leased]
            if outcomes:
                self.house.finish(worker, *outcomes)
        assert {self.house.state(id_) for id_ in self.acknowledged} <= FINAL


Queue.TestCase.settings = settings(
    max_examples=tries(10), stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_no_history_breaks_a_promise():
    Queue.TestCase("runTest").runTest()


@pytest.mark.integration
def test_no_long_history_breaks_a_promise():
    class Longer(Queue.TestCase):
        settings = settings(Queue.TestCase.settings, max_examples=tries(60), stateful_step_count=60)

    Longer("runTest").runTest()
