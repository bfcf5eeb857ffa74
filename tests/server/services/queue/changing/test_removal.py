"""Removing jobs: in steps, and with their files."""

import itertools
import os
import time
from pathlib import Path

from house import House, finished

from piecework.server.services.core import Core
from piecework.server.services.queue.changing.removal import Removal
from piecework.server.services.stock.data import ORPHAN_AGE_S
from piecework.server.store.engine.ids import IdSource
from piecework.server.store.queue.jobs.removal import CHUNK

LARGE = "x" * 40_000


def run(house: House, count: int = 1, **fields: object) -> list[int]:
    """Run jobs to their end."""
    lambda_id, worker = house.new_lambda(), house.new_worker()
    ids = [int(house.submit(lambda_id, **fields)) for _ in range(count)]
    for leased in house.contract(worker, max=count)["jobs"]:
        house.finish(worker, finished({"job": leased["job"], "lease": leased["lease"]}))
    return ids


def files(house: House) -> list[Path]:
    return [path for path in (house.data / "blobs").glob("*/*") if path.is_file()]


def age_files(house: House) -> None:
    past = time.time() - ORPHAN_AGE_S - 1
    for path in files(house):
        os.utime(path, (past, past))


def test_jobs_go_and_others_stay(house: House):
    ended = run(house, 3)
    waiting = int(house.submit(house.new_lambda()))
    assert house.services.removal.remove([*ended, waiting, 5]) == ended
    assert house.services.removal.remove(ended) == []
    for id_ in ended:
        assert house.call("GET", f"/job/{id_}", status=404)["code"] == 901
    assert house.state(str(waiting)) == "Enqueued"


def test_each_transaction_ends_when_its_time_is_up(house: House):
    ended = run(house, CHUNK + 3)
    ticks = itertools.count()
    services = house.services
    core = Core(services.database, IdSource(9, house.clock), house.clock, services.settings)
    removal = Removal(core, services.data, services.feed, monotonic=lambda: float(next(ticks)))
    assert len(removal.remove_some(ended).ids) == CHUNK
    assert len(removal.remove(ended)) == 3


def test_the_file_of_a_large_input_goes_once_it_is_old(house: House):
    young, old = run(house, input={"text": LARGE}), run(house, input={"text": LARGE[1:]})
    age_files(house)
    [again] = run(house, input={"text": LARGE})  # its file is young again
    house.services.removal.remove(old)
    assert len(files(house)) == 1
    house.services.removal.remove(young)
    age_files(house)
    house.services.data.sweep()
    assert len(files(house)) == 1, "another job has the same input"
    house.services.removal.remove([again])
    assert files(house) == []
