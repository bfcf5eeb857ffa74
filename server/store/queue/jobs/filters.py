"""Which jobs are meant: the conditions that lists, counts and bulk work share."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, func, literal_column, or_, select

from piecework.protocol.codes import ErrorKind
from piecework.protocol.states import FINAL_STATES, JobState
from piecework.server.store.engine.statements import ListOfArgs
from piecework.server.store.engine.tables import jobs, lambdas, lanes


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are meant; what is None or empty does not restrict."""

    states: tuple[JobState, ...] = ()
    """Any of them."""
    lambda_: int | str | None = None
    """The lambda's id, or the name of some."""
    group_id: int | None = None
    tag: str | None = None
    """As it was submitted, by the job or its lambda."""
    tenant: str | None = None
    worker_id: int | None = None
    """Who runs it, or ran it last."""
    schedule_id: int | None = None
    """Which submitted it."""
    submitter: str | None = None
    """The name of the token that it was submitted with."""
    key: str | None = None
    """Its idempotency key."""
    text: str | None = None
    """Stands in its own arguments, in its key, or in what its last failed attempt said; letters of ASCII in any
    case."""
    kinds: tuple[ErrorKind, ...] = ()
    """Its last failed attempt failed so."""
    since: int | None = None
    """It ended then or later; one that has not ended was submitted then or later."""
    until: int | None = None
    """It ended then or earlier; one that has not ended was submitted then or earlier."""
    ended: bool | None = None
    """Whether it is final."""
    run_again: bool | None = None
    """Whether a further job was made of it."""

    def narrow(self, statement: Select[Any]) -> Select[Any]:
        """Return a statement about those of its jobs that are meant."""
        return statement.where(*self._conditions())

    def _conditions(self) -> Iterable[ColumnElement[bool]]:
        yield from self._state_conditions()
        for column, value in (
            (jobs.c.group_id, self.group_id),
            (jobs.c.worker_id, self.worker_id),
            (jobs.c.schedule_id, self.schedule_id),
            (jobs.c.submitter, self.submitter),
            (jobs.c.key, self.key),
        ):
            if value is not None:
                yield column == value
        if isinstance(self.lambda_, int):
            yield jobs.c.lambda_id == self.lambda_
        elif self.lambda_ is not None:
            yield jobs.c.lambda_id.in_(select(lambdas.c.id).where(lambdas.c.name == self.lambda_))
        if self.tag is not None:
            quoted = msgspec.json.encode(self.tag).decode()
            yield jobs.c.tags.contains(quoted, autoescape=True)
        if self.tenant is not None:
            yield jobs.c.lane_id.in_(select(lanes.c.id).where(lanes.c.tenant == self.tenant))
        if self.text:
            quoted = msgspec.json.encode(self.text).decode()[1:-1]
            yield or_(
                *(
                    place.icontains(text, autoescape=True)
                    for place, text in (
                        (ListOfArgs(jobs.c.options), quoted), (jobs.c.key, self.text), (jobs.c.error, quoted)
                    )
                )
            )  # fmt: skip
        if self.kinds:
            yield or_(*(_failed_with(kind) for kind in self.kinds))
        if self.run_again is not None:
            later = jobs.alias("later")
            made = select(later.c.id).where(later.c.retry_of == jobs.c.id).exists()
            yield made if self.run_again else ~made

    def _state_conditions(self) -> Iterable[ColumnElement[bool]]:
        if self.states:
            yield jobs.c.state.in_([literal_column(f"'{state.value}'") for state in self.states])
        are_final = self._are_final()
        # Said besides, so that the database can use the indexes of such jobs alone.
        if are_final is not None:
            yield jobs.c.finished_at.is_not(None) if are_final else jobs.c.finished_at.is_(None)
        times = {True: jobs.c.finished_at, False: jobs.c.created_at, None: _AT}
        if self.since is not None:
            yield times[are_final] >= self.since
        if self.until is not None:
            yield times[are_final] <= self.until

    def _are_final(self) -> bool | None:
        """Tell whether jobs that fit are final; None: some may be, others not."""
        if self.ended is not None or not self.states:
            return self.ended
        final = {state in FINAL_STATES for state in self.states}
        return final.pop() if len(final) == 1 else None


_AT = func.coalesce(jobs.c.finished_at, jobs.c.created_at)


def _failed_with(kind: ErrorKind) -> ColumnElement[bool]:
    """Tell whether an error is of a kind: its text begins with that, the first field of ``JobError``."""
    return jobs.c.error.startswith(f'{{"kind":"{kind.value}",', autoescape=True)
