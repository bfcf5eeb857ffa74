"""Files of jobs that wait for others: what is in them is known when those end."""

from collections.abc import Sequence

from piecework.protocol.states import JobState
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.dependencies.relations import Settling
from piecework.server.store.queue.jobs import files


def fill_files(connection: Connection, met: Sequence[tuple[int, Settling]]) -> dict[int, str]:
    """Say what is in files of jobs that wait for others: each the id of such a job, and an end that it waited for.

    Of one that did not finish there are none. Returns what is lacking of those that did, by the job's id.
    """
    ends = {(child, end.parent_id): end for child, end in met if end.state is JobState.FINISHED}
    if not ends:
        return {}
    given = files.find_files(connection, "given", {child for child, _ in ends})
    wanted = [
        (child, file, end)
        for child, own in given.items()
        for file in own
        if (end := ends.get((child, file.parent_id or 0)))
    ]
    made = files.find_files(
        connection, "made", {end.parent_id for _, file, end in wanted if file.source is not None}
    )
    known = {(parent, each.name): each.blob_id for parent, own in made.items() for each in own}
    filled: list[tuple[int, str, int | None]] = []
    lacking: dict[int, str] = {}
    for child, file, end in wanted:
        blob_id = end.output_id or 0 if file.source is None else known.get((end.parent_id, file.source))
        filled.append((child, file.name, blob_id))
        if blob_id is None:
            lacking[child] = f"{end.parent_id}, which it waited for, gave back no file {file.source!r}"
    files.fill_files(connection, filled)
    return lacking
