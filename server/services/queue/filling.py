"""Files of jobs that wait for others: what is in them is known when those end."""

from collections.abc import Sequence

from piecework.protocol.states import JobState
from server.store.engine.database import Connection
from server.store.queue import files
from server.store.queue.relations import Settling


def fill_files(connection: Connection, met: Sequence[tuple[int, Settling]]) -> dict[int, str]:
    """Say what is in files of jobs that wait for others: each the id of such a job, and an end that it waited for.

    Of one that did not finish there are none. Returns what is lacking of those that did, by the job's id.
    """
    ends = {(child, end.parent_id): end for child, end in met if end.state is JobState.FINISHED}
    if not ends:
        return {}
    wanted = files.find_files(connection, "given", {child for child, _ in ends})
    sources = {parent for child, parent in ends if any(each.parent_id == parent for each in wanted.get(child, ()))}
    made = files.find_files(connection, "made", sources)
    filled: list[tuple[int, str, int | None]] = []
    lacking: dict[int, str] = {}
    for (child, parent), end in ends.items():
        known = {each.name: each.blob_id for each in made.get(parent, ())}
        for file in wanted.get(child, ()):
            if file.parent_id == parent:
                blob_id = end.output_id or 0 if file.source is None else known.get(file.source)
                filled.append((child, file.name, blob_id))
                if blob_id is None:
                    lacking[child] = f"{parent}, which it waited for, gave back no file {file.source!r}"
    files.fill_files(connection, filled)
    return lacking
