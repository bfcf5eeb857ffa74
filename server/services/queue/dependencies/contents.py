"""What jobs get from others as files."""

from collections.abc import Sequence

from piecework.server.services.queue.dependencies.dependants import UNNAMED
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.dependencies import dependencies
from piecework.server.store.queue.jobs.files import StoredFile
from piecework.server.store.records import Job
from piecework.server.store.stock import blobs


def find_inputs(connection: Connection, chosen: Sequence[Job]) -> dict[int, list[StoredFile]]:
    """Return what jobs get from others as files, by job id. One whose parent produced nothing is left out."""
    ids = [job.id for job in chosen if job.options_json and job.options.has_files]
    if not ids:
        return {}
    edges = [
        edge
        for edge in dependencies.find_of_children(connection, ids)
        if edge.name not in UNNAMED and edge.blob_id is not None
    ]
    digests = blobs.find_digests(connection, (edge.blob_id or 0 for edge in edges))
    found: dict[int, list[StoredFile]] = {id_: [] for id_ in ids}
    for edge in edges:
        assert edge.blob_id is not None
        sha256, size = digests.get(edge.blob_id, (b"", 0))
        found[edge.child_id].append(StoredFile(edge.name, edge.blob_id, sha256, size))
    return found
