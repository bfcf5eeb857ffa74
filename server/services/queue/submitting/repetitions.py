"""Submissions that come again under their key, after the names in them have come to mean newer lambdas."""

from collections.abc import Mapping, Sequence

import msgspec

from piecework.protocol.ids import Id
from piecework.protocol.messages import JobSpec, given
from piecework.protocol.names import LambdaName
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.jobs import jobs, submissions
from piecework.server.store.records import Lambda


def find_meant(connection: Connection, specs: Sequence[JobSpec], whole_key: str | None) -> dict[int, int]:
    """Return the ids of the lambdas of earlier jobs under the same keys, by the places of these in ``specs``.

    With ``whole_key`` those of the submission that has it, if there is one of as many jobs.
    """
    earlier = submissions.find_submission(connection, whole_key) if whole_key else None
    if earlier:
        places = dict(enumerate(earlier[1])) if len(earlier[1]) == len(specs) else {}
    else:
        taken = jobs.find_by_keys(connection, {key for spec in specs if (key := given(spec.key)) is not None})
        places = {place: taken[spec.key][0] for place, spec in enumerate(specs) if spec.key in taken}
    found = jobs.find_jobs(connection, places.values())
    return {place: found[job_id].lambda_id for place, job_id in places.items() if job_id in found}


def pin_names(
    specs: Sequence[JobSpec], known: Mapping[int, Lambda], meant: Mapping[int, int]
) -> Sequence[JobSpec]:
    """Return a submission whose names are replaced by the lambdas that they meant, where these have the name."""
    pinned = list(specs)
    for place, lambda_id in meant.items():
        ref = LambdaName.parse(given(specs[place].lambda_) or "")
        if isinstance(ref, LambdaName) and ref.id is None and known[lambda_id].name == ref.name:
            pinned[place] = msgspec.structs.replace(specs[place], lambda_=Id(lambda_id))
    return pinned
