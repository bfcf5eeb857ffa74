"""What the queue asks for again and again must not cost more as finished jobs pile up."""

import re

import pytest
from places import Place
from sqlalchemy.dialects import postgresql, sqlite

from server.store.queue import jobs, lanes, leases
from server.store.stock import blobs, holding

HOT = {
    "candidates": leases._candidates,
    "lanes with jobs": lanes._with_jobs,
    "overdue": leases._overdue,
    "next time": leases._next_times,
    "first lease by input": leases._first_by_input,
    "held": holding._held,
    "held of jobs that lost a worker": holding._suspects,
    "held by all": holding._held_by_all,
    "expire a worker's leases": holding._expire_worker,
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


ON_POSTGRESQL = {name: HOT[name].statement for name in HOT if name not in {"counts", "held by all", "waiting"}} | {
    "by ids": jobs._by_ids._postgres.statement,
    "lock by ids": jobs._lock_by_ids._postgres.statement,
    "grant many": leases._grant._for_arrays(postgresql.dialect()).statement,
    "end many": leases._end._for_arrays(postgresql.dialect()).statement,
}


@pytest.mark.integration
@pytest.mark.parametrize("name", ON_POSTGRESQL)
def test_on_postgresql_a_plan_made_for_an_empty_table_walks_an_index_too(postgres_place: Place, name: str):
    compiled = ON_POSTGRESQL[name].compile(dialect=postgresql.dialect(paramstyle="numeric_dollar"))
    database = postgres_place.open()
    with database.read() as connection:
        lines = connection.connection.driver_connection.execute(f"EXPLAIN (GENERIC_PLAN) {compiled}").fetchall()
    database.close()
    plan = "\n".join(line for (line,) in lines)
    assert re.search(r"Index .*Scan", plan), plan
    if name.endswith("many"):
        assert "Index Cond: (id = given.job)" in plan, plan
    # A sort, or a hash of all that an index holds, would cost more with every job in the queue.
    assert not re.search(r"(Seq|Bitmap Heap) Scan on (jobs|blobs)|Hash|Merge|Sort", plan), plan
