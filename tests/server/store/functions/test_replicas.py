"""Hosts and their replicas."""

from typing import Any

import pytest
from rows import LAMBDA, NOW, lambda_, worker

from piecework.protocol.ids import Id
from piecework.protocol.matching import TagSet
from piecework.protocol.messages import ReplicaReport, ReplicaState
from piecework.server.store.engine import servers
from piecework.server.store.engine.database import Connection, Database
from piecework.server.store.functions import ended_logs, functions, replicas
from piecework.server.store.functions.functions import Revision
from piecework.server.store.functions.kept_logs import KeptLog
from piecework.server.store.functions.replicas import OrderRow
from piecework.server.store.options import LambdaOptions
from piecework.server.store.records import Log
from piecework.server.store.stock import lambdas, workers

HOST = 5


@pytest.fixture(autouse=True)
def hola(database: Database) -> None:
    def store(connection: Connection) -> None:
        workers.add_worker(connection, worker(HOST, tags=("eu", "+gpu")))
        lambdas.add_lambda(connection, lambda_(options=LambdaOptions(tags=("+eu",))))
        functions.add_function(connection, "hola", NOW)
        functions.add_revision(connection, Revision("hola", "blue", LAMBDA, None, 2, NOW))
        functions.add_revision(connection, Revision("hola", "off", LAMBDA, None, 0, NOW))
        replicas.hear_host(connection, HOST, 4, NOW)
        for id_ in (1, 2):
            replicas.add_replica(connection, OrderRow(id_, "hola", "blue", f"t{id_}", LAMBDA), HOST, NOW)

    database.write(store)


def note(database: Database, now: int = NOW, **fields: Any) -> replicas.ReplicaRow:
    """Note a report about replica 1 and return its row."""

    def store(connection: Connection) -> replicas.ReplicaRow:
        known, _ = replicas.replicas_of_host(connection, HOST)
        report = ReplicaReport(**{"id": Id(1), "state": ReplicaState.RUNNING, "url": "http://h:1"} | fields)
        replicas.note_report(connection, known, report, now)
        return replicas.list_replicas(connection)[0]

    return database.write(store)


def kept_log(database: Database) -> Log:
    with database.read() as connection:
        return replicas.read_logs(connection, "hola", "blue")[0].log


def test_a_host_is_its_worker_with_slots_and_the_time_of_its_last_report(database: Database):
    database.write(lambda c: replicas.hear_host(c, HOST, 2, NOW + 1))
    with database.read() as connection:
        [host] = replicas.list_hosts(connection)
    assert (host.worker_id, host.name, host.slots, host.seen_at) == (HOST, "w", 2, NOW + 1)
    assert (host.drains, host.retired) == (False, False)
    assert (host.runtimes, host.tags) == (("wasi",), {"eu", "gpu"})


@pytest.mark.parametrize(
    ("leave", "drains", "retired"),
    [
        (lambda c: workers.set_draining(c, HOST, draining=True), True, False),
        (lambda c: workers.retire_worker(c, HOST, NOW), False, True),
    ],
    ids=["drains", "retired"],
)
def test_a_worker_that_drains_or_was_retired_leaves(database: Database, leave, drains: bool, retired: bool):
    database.write(leave)
    with database.read() as connection:
        [host] = replicas.list_hosts(connection)
    assert (host.drains, host.retired) == (drains, retired)


def test_a_host_that_reported_meanwhile_is_not_forgotten(database: Database):
    database.write(lambda c: replicas.delete_host(c, HOST, NOW))
    with database.read() as connection:
        assert replicas.list_hosts(connection)
    database.write(lambda c: replicas.delete_host(c, HOST, NOW + 1))
    with database.read() as connection:
        assert not replicas.list_hosts(connection)


def test_only_revisions_that_want_replicas_are_listed_with_what_they_ask_of_hosts(database: Database):
    with database.read() as connection:
        [wanted] = replicas.list_wanted(connection)
    assert wanted == ("hola", "blue", 2, LAMBDA, "wasi", TagSet.parse(["+eu"]))


def test_a_new_replica_starts_and_its_order_names_the_lambda(database: Database):
    with database.read() as connection:
        orders = replicas.list_orders(connection, HOST)
        row = replicas.list_replicas(connection)[0]
        assert replicas.list_orders(connection, HOST + 1) == []
    assert orders == [OrderRow(1, "hola", "blue", "t1", LAMBDA), OrderRow(2, "hola", "blue", "t2", LAMBDA)]
    assert (row.state, row.url, row.since) == (ReplicaState.STARTING, None, NOW)


def test_a_report_is_kept_and_its_time_only_when_the_state_changes(database: Database):
    row = note(database, NOW + 1, pid=7, calls=3, errors=1, p50_ms=1.5, p99_ms=9.0)
    assert row[4:14] == (ReplicaState.RUNNING, "http://h:1", 7, "t1", "", 3, 1, 1.5, 9.0, NOW + 1)
    assert note(database, NOW + 2, calls=4).since == NOW + 1
    failed = note(database, NOW + 3, state=ReplicaState.FAILED, url=None, error="it \0 ended" + "!" * 9000)
    assert (failed.state, failed.url, failed.since) == (ReplicaState.FAILED, None, NOW + 3)
    assert failed.error.startswith("it \N{REPLACEMENT CHARACTER} ended")
    assert len(failed.error) == replicas.ERROR_CHARS


def test_the_newest_part_of_a_log_is_kept_and_nothing_twice(database: Database):
    note(database, log=b"one ", log_start=0)
    note(database, log=b"two", log_start=4)
    note(database, log=b"two", log_start=4)
    assert kept_log(database) == Log(0, b"one two", 0)
    note(database, log=b"x" * replicas.LOG_BYTES, log_start=7)
    assert kept_log(database) == Log(7, b"x" * replicas.LOG_BYTES, 0)


def test_a_replica_that_its_host_did_not_name_starts_anew_with_an_empty_log(database: Database):
    row = note(database, pid=7, log=b"before", log_start=100)
    database.write(lambda c: replicas.forget_report(c, row, NOW + 5))
    with database.read() as connection:
        again = replicas.list_replicas(connection)[0]
    assert (again.state, again.url, again.pid, again.since) == (ReplicaState.STARTING, None, None, NOW + 5)
    assert kept_log(database) == Log(0, b"", 0)
    database.write(lambda c: replicas.forget_report(c, again, NOW + 6))
    with database.read() as connection:
        assert replicas.list_replicas(connection)[0].since == NOW + 5


def test_dropped_replicas_are_gone(database: Database):
    database.write(lambda c: replicas.delete_replicas(c, {1, 99}, NOW))
    with database.read() as connection:
        assert [row.id for row in replicas.list_replicas(connection)] == [2]
        assert ended_logs.list_ended(connection, "hola", "blue") == []


def list_ended(database: Database) -> list[KeptLog]:
    with database.read() as connection:
        return ended_logs.list_ended(connection, "hola", "blue")


def test_the_end_of_a_log_outlives_its_replica(database: Database):
    note(database, log=b"a" + b"b" * ended_logs.KEPT_BYTES, log_start=5)
    database.write(lambda c: replicas.delete_replicas(c, {1}, NOW + 9))
    [kept] = list_ended(database)
    assert kept == KeptLog(1, "w", Log(6, b"b" * ended_logs.KEPT_BYTES, 0), NOW + 9)


def test_the_log_of_a_process_that_its_host_lost_is_kept(database: Database):
    row = note(database, log=b"last words", log_start=0)
    for seconds in (1, 2):  # the second time there is nothing to keep
        database.write(lambda c, at=NOW + seconds: replicas.forget_report(c, row, at))
    assert [(each.replica_id, each.log.content, each.ended_at) for each in list_ended(database)] == [
        (1, b"last words", NOW + 1)
    ]


def test_only_the_last_logs_of_a_revision_are_kept(database: Database):
    for number in range(ended_logs.KEPT + 2):
        row = note(database, log=b"%d" % number, log_start=0)
        database.write(lambda c, row=row: replicas.forget_report(c, row, NOW))
    assert [each.log.content for each in list_ended(database)] == [b"2", b"3", b"4"]


def test_a_revision_that_is_removed_takes_its_logs_along(database: Database):
    note(database, log=b"words", log_start=0)
    database.write(lambda c: replicas.delete_replicas(c, {1}, NOW))
    assert database.write(lambda c: functions.delete_revision(c, "hola", "blue"))
    assert list_ended(database) == []


def test_ids_of_replicas_are_not_given_again_when_the_clock_was_set_back(database: Database):
    newest = 2**50
    database.write(lambda c: replicas.add_replica(c, OrderRow(newest, "hola", "blue", "t", LAMBDA), HOST, NOW))
    with database.read() as connection:
        assert servers.largest_id(connection) >= newest
