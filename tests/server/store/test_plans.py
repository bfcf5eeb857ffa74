"""What the queue asks for again and again must not cost more as finished jobs pile up."""

import re

import pytest
from places import Place
from sqlalchemy.dialects import sqlite

from server.store import blobs, jobs, lanes, leases

HOT = {
    "candidates": leases._candidates,
    "lanes with jobs": lanes._with_jobs,
    "overdue": leases._overdue,
    "next time": leases._next_times,
    "first lease by input": leases._first_by_input,
    "held": leases._held,
    "held by all": leases._held_by_all,
    "expire a worker's leases": leases._expire_worker,
    "counts": jobs._counts,
    "waiting": jobs._waiting_count,
    "blob in use": blobs._used,
    "blob stored": blobs._stored,
}


@pytest.mark.parametrize("name", HOT)
def test_a_hot_statement_never_reads_the_whole_table(sqlite_place: Place, name: str):
    compiled = HOT[name].statement.compile(dialect=sqlite.dialect())
    values = tuple(1 for _ in compiled.positiontup)
    database = sqlite_place.open()
    with database.read() as connection:
        steps = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", values)]
    database.close()
    assert not [step for step in steps if re.fullmatch(r"SCAN (jobs|blobs)", step)], steps
