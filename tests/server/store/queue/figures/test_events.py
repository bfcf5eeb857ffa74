"""The trail of a job."""

from piecework.protocol.states import JobState
from piecework.server.store.engine.database import Database
from piecework.server.store.queue.figures import events
from piecework.server.store.records import Event


def test_events_come_back_in_the_order_in_which_they_were_stored(database: Database):
    first = [Event(1, 500, JobState.ENQUEUED, detail="submitted"), Event(2, 500, JobState.ENQUEUED)]
    # A clock that was set back does not turn the trail around.
    later = [Event(1, 400, JobState.RUNNING, 9, 1, "L", "leased"), Event(1, 450, JobState.FINISHED, 9, 1, "L")]
    database.write(lambda c: events.add_events(c, first))
    database.write(lambda c: events.add_events(c, later))
    with database.read() as connection:
        assert events.list_events(connection, 1) == [first[0], *later]
        assert events.list_events(connection, 3) == []


def test_storing_no_events_is_nothing(database: Database):
    database.write(lambda c: events.add_events(c, []))
    with database.read() as connection:
        assert events.list_events(connection, 1) == []
