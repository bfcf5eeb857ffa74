"""What the queue asks for again and again must not cost more as finished jobs pile up."""

import re

import psycopg
import pytest
from places import Place, migrate
from postgres import Cluster
from sqlalchemy.dialects import postgresql, sqlite

from piecework.server.store.engine.database import open_database
from piecework.server.store.queue.jobs import jobs, removal, retention, submissions
from piecework.server.store.queue.leasing import keyed, lanes, leases, limits
from piecework.server.store.queue.schedules import schedules, ticks
from piecework.server.store.stock import blobs, holding, lambdas

HOT = {
    "candidates": leases._candidates["sqlite"],
    "groups": lanes._groups,
    "enqueued of a lane": jobs._enqueued["sqlite"],
    "overdue": leases._overdue,
    "next time": leases._next_times,
    "first lease by input": leases._first_by_input,
    "held": holding._held,
    "held of jobs that lost a worker": holding._suspects,
    "held by all": holding._held_by_all,
    "expire a worker's leases": holding._expire_worker,
    "enqueued by lane": jobs._enqueued_by_lane,
    "running by lane": jobs._running_by_lane,
    "waiting": jobs._waiting_count,
    "blob in use": blobs._used,
    "blob stored": blobs._stored,
    "lambdas of a name": lambdas._page_of_name,
    "lambdas of some code": lambdas._by_code,
    "unused blobs": blobs._unused_by_ids._sqlite,
    "final jobs to remove": removal._lock_final._sqlite,
    "next tick": schedules._next_tick,
    "schedules that are due": schedules._due,
    "jobs of a schedule that have not ended": schedules._open_jobs,
    "ticks of a schedule": ticks._page,
    "jobs by end": retention._by_state,
    "jobs until read": retention._unread,
    "jobs by their own end": retention._own,
    "old keys of submissions": submissions._old,
    "limits to look at": limits._to_wake,
    "a limit": limits._find,
} | {
    f"{what} of a {kind} key": statements[kind]
    for what, statements in {
        "lanes that wait": keyed._lanes,
        "first that wait": keyed._first,
        "those that wait before": keyed._before,
        "those that wait": keyed._waiting,
        "ready": keyed._ready,
        "running": keyed._running,
        "any live": keyed._live,
    }.items()
    for kind in limits.KINDS
}


@pytest.mark.parametrize("name", HOT)
def test_a_hot_statement_never_reads_the_whole_table(sqlite_place: Place, name: str):
    compiled = HOT[name].statement.compile(dialect=sqlite.dialect())
    values = tuple(1 for _ in compiled.positiontup)
    database = sqlite_place.open()
    with database.read() as connection:
        steps = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", values)]
    database.close()
    assert not [
        step
        for step in steps
        if re.fullmatch(r"SCAN (jobs|blobs|lambdas|schedules|ticks|limits)( USING .*ix_jobs_lane)?", step)
    ], steps


RETENTION = {"jobs by end", "jobs until read", "jobs by their own end"}
NOT_ON_POSTGRESQL = {
    "enqueued by lane",
    "running by lane",
    "held by all",
    "waiting",
    "unused blobs",
    "schedules that are due",
    "final jobs to remove",
}
ON_POSTGRESQL = {name: HOT[name].statement for name in HOT if name not in NOT_ON_POSTGRESQL} | {
    "by ids": jobs._by_ids._postgres.statement,
    "lock by ids": jobs._lock_by_ids._postgres.statement,
    "candidates of many lanes": leases._candidates_of_many.statement,
    "candidates": leases._candidates["postgresql"].statement,
    "enqueued of a lane": jobs._enqueued["postgresql"].statement,
    "grant many": leases._grant._for_arrays(postgresql.dialect()).statement,
    "end many": leases._end._for_arrays(postgresql.dialect()).statement,
    "unused blobs": blobs._unused_by_ids._postgres.statement,
    "final jobs to remove": removal._lock_final._postgres.statement,
    "jobs of removed many": removal._deletes[-1]._for_arrays(postgresql.dialect()).statement,
    "events of removed many": removal._deletes[0]._for_arrays(postgresql.dialect()).statement,
}


@pytest.fixture(scope="module")
def new_url(postgres: Cluster) -> str:
    """The URL of a database in which no table ever had a row: what other tests removed leaves pages to indexes."""
    url = postgres.create_database("plans")
    migrate(url)
    return url


def explain(url: str, name: str) -> str:
    """Return how PostgreSQL runs a statement, whatever its values are."""
    compiled = ON_POSTGRESQL[name].compile(dialect=postgresql.dialect(paramstyle="numeric_dollar"))
    database = open_database(url)
    with database.read() as connection:
        driver = connection.connection.driver_connection
        driver.execute("BEGIN")
        if name in RETENTION:
            driver.execute(retention.SORT_EQUALS)
        lines = driver.execute(f"EXPLAIN (GENERIC_PLAN) {compiled}").fetchall()
    database.close()
    return "\n".join(line for (line,) in lines)


@pytest.mark.integration
@pytest.mark.parametrize("name", ON_POSTGRESQL)
def test_on_postgresql_a_plan_made_for_an_empty_table_walks_an_index_too(new_url: str, name: str):
    plan = explain(new_url, name)
    assert re.search(r"Index .*Scan", plan), plan
    if name.endswith("many"):
        assert re.search(r"Index Cond: \((job_)?id = given.job\)", plan), plan
    # A sort, or a hash of all that an index holds, would cost more with every job in the queue. An
    # incremental sort is one of those that an index has in one place.
    assert not re.search(
        r"(Seq|Bitmap Heap) Scan on (jobs|blobs|schedules|ticks)|Hash|Merge|(?<!Incremental )Sort(?! Key)", plan
    ), plan


MISLEADING = ["most are enqueued", "all were removed"]
BACKLOG = """
INSERT INTO jobs (id, lambda_id, lane_id, state, priority, input_id, attempt, max_attempts, vanished, created_at)
SELECT id, 1, 1, 'Enqueued', 0, id, 0, 3, 0, id FROM generate_series(1, 30000) AS id
"""


@pytest.fixture(scope="module", params=MISLEADING)
def known_url(postgres: Cluster, request: pytest.FixtureRequest) -> str:
    """The URL of a database whose planner was told what is in it, at a moment at which that misleads it."""
    url = postgres.create_database(f"plans_{MISLEADING.index(request.param)}")
    migrate(url)
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")  # of nothing that the jobs name there is any
        connection.execute(BACKLOG)
        if request.param == "all were removed":
            connection.execute("DELETE FROM jobs")
        connection.execute("VACUUM ANALYZE jobs")
    return url


@pytest.mark.integration
@pytest.mark.parametrize("name", ["candidates", "candidates of many lanes", "groups", "enqueued of a lane"])
def test_on_postgresql_claims_walk_their_index_always(known_url: str, name: str):
    plan = explain(known_url, name)
    ways = re.findall(r"using (\w+) on jobs(?! first)", plan)  # the first job of a group is found by its id
    assert set(ways) == {"ix_jobs_claim"}, plan
    assert not re.search("Sort(?! Key)", plan), plan
