"""How jobs belong together: which wait for which others, and groups of them."""

from typing import Literal, NamedTuple

from piecework.protocol.states import JobState

EdgeState = Literal["open", "done", "broken"]
"""Of a dependency. ``open``: what the job waits for has not ended. ``done``: it need not wait for that any more.
``broken``: that failed, or was cancelled, and the job is not to run then.
"""


class Edge(NamedTuple):
    """A dependency: one job waits for another, or for a group."""

    child_id: int
    parent_id: int
    name: str = ""
    """Of the file as which the child gets the parent's output; ``-``: as its input; ``/``: in files of its
    own directory; empty: not at all."""
    state: EdgeState = "open"
    blob_id: int | None = None
    """The output; 0: an empty one; None: there is none, or not yet."""


class Settling(NamedTuple):
    """A job or group of whose end, or going on, not all dependants have heard."""

    parent_id: int
    state_name: str
    output_id: int | None = None

    @property
    def state(self) -> JobState:
        return JobState(self.state_name)


class JobGroup(NamedTuple):
    """Jobs that somebody looks at together."""

    id: int
    name: str | None
    submitter: str | None
    created_at: int
    sealed_at: int | None = None
    """When it was closed to further jobs."""
    done_at: int | None = None
    """When all its jobs were final, once it was sealed."""
    state_name: str | None = None
    """Once it is done: Finished when all its jobs are, else Fail_Execution."""
    output_id: int | None = None
    """Once it is done: the blob that says what became of each job, if anyone wants it."""
    on_end: str | None = None
    """The name of the webhook that is told once it is done."""

    @property
    def state(self) -> JobState:
        """As which it counts for those who wait for it."""
        return JobState(self.state_name or JobState.WAITING)
