"""A server whose PostgreSQL is behind a pooler: each transaction may have another session."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from house import House, finished
from patience import LONG_S
from places import Place
from pooler import Pooler
from structlog.testing import capture_logs

pytestmark = pytest.mark.integration
JOBS = 40
STATE = (
    "SELECT current_setting('enable_seqscan'), current_setting('jit'), current_setting('synchronous_commit') ="
    " (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit'), (SELECT count(*) FROM"
    " pg_prepared_statements), (SELECT count(*) FROM pg_listening_channels())"
)
UNTOUCHED = (b"on", b"on", b"t", b"0", b"0")


@pytest.fixture
def pooler(postgres_place: Place) -> Iterator[Pooler]:
    pooler = Pooler(postgres_place.database_url)
    yield pooler
    pooler.close()


@pytest.fixture
def house(postgres_place: Place, pooler: Pooler) -> Iterator[House]:
    house = House(postgres_place.data, database_url=pooler.url)
    yield house
    house.close()


def test_sessions_change_between_transactions_of_the_stand_in(pooler: Pooler):
    with psycopg.connect(pooler.url, autocommit=True) as client:
        assert len({client.execute("SELECT pg_backend_pid()").fetchone() for _ in range(4)}) == 3
        client.execute("SET jit TO off")
        with pytest.raises(psycopg.errors.InvalidSqlStatementName):
            client.execute("SELECT 1", prepare=True)
    assert sorted(row[1] for row in pooler.ask_all(STATE)) == [b"off", b"on", b"on"]


def test_jobs_of_many_callers_run_and_sessions_stay_as_they_were(house: House, pooler: Pooler):
    lambda_ = house.new_lambda()

    def work(number: int) -> None:
        client = House.__new__(House)
        client.__dict__ |= house.__dict__ | {"client": house.app.test_client()}
        worker = client.new_worker(name=f"worker {number}")
        for _ in range(JOBS // 4):
            client.submit(lambda_)
            run_all(client, worker)

    def run_all(client: House, worker: str) -> None:
        for job in client.contract(worker, max=9)["jobs"]:
            client.finish(worker, finished({"job": job["job"], "lease": job["lease"]}))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    run_all(house, house.new_worker())  # what somebody else was about to take
    states = [job["state"] for job in house.call("GET", f"/job?limit={JOBS * 2}")["jobs"]]
    assert states == ["Finished"] * JOBS
    assert pooler.ask_all(STATE) == [UNTOUCHED] * 3


def test_a_server_says_at_its_start_that_there_is_a_pooler(house: House, postgres_place: Place):
    for url, lines in ((house.database_url, 1), (postgres_place.database_url, 0)):
        with capture_logs() as logs:
            House(postgres_place.data, database_url=url).close()
        assert len([line for line in logs if "there is a pooler" in line["event"]]) == lines


def test_statements_stay_prepared_without_a_pooler(postgres_place: Place):
    database = postgres_place.open()
    with database.read() as connection:
        driver = connection.connection.driver_connection
        driver.execute("SELECT 1", prepare=True)
        assert driver.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (1,)
        assert driver.execute("SHOW enable_seqscan").fetchone() == ("off",)
    assert not database.is_pooled
    database.close()


def test_listening_through_a_pooler_waits_for_its_end_and_holds_no_session(house: House, pooler: Pooler):
    stop = threading.Event()
    listener = threading.Thread(target=house.services.database.listen, args=(pytest.fail, stop), daemon=True)
    listener.start()
    house.services.database.announce()
    assert pooler.ask_all(STATE) == [UNTOUCHED] * 3
    stop.set()
    listener.join(LONG_S)
    assert not listener.is_alive()
