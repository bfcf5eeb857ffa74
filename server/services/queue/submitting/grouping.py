"""How new jobs join groups, inside the transaction that takes them in."""

from collections.abc import Iterable

from piecework.protocol.ids import Id
from piecework.protocol.messages import JobSpec, given
from piecework.protocol.names import NAME_RULE, is_name
from piecework.server.errors import GroupConflict, GroupNotFound, InvalidRequest
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.dependencies import groups
from piecework.server.store.queue.dependencies.relations import JobGroup


def check_group_name(name: str) -> str:
    """Return the name of a group. Raises InvalidRequest when nothing can be called so."""
    if not is_name(name) or name.isdecimal():
        raise InvalidRequest(f"the group's name is {name[:200]!r}: {NAME_RULE}, and is no number")
    return name


def join_groups(
    connection: Connection, refs: Iterable[str], new_ids: Iterable[int], submitter: str | None, now: int
) -> dict[str, int]:
    """Return the ids of the groups that new jobs join, by what they are named as; a name that is new makes one.

    Raises GroupNotFound, or GroupConflict for one that is sealed.
    """
    joined: dict[str, int] = {}
    for ref, new_id in zip(refs, new_ids, strict=True):
        if ref.isdecimal():
            group = groups.hold_groups(connection, [int(ref)]).get(int(ref))
            if group is None:
                raise GroupNotFound(f"there is no group {ref[:40]}")
        else:
            group = groups.hold_newest(connection, ref)
            if group is None:
                group = JobGroup(new_id, ref, submitter, now)
                groups.add_group(connection, group)
        if group.sealed_at is not None:
            raise GroupConflict(f"group {ref} is sealed: no further job can join it")
        joined[ref] = group.id
    return joined


def read_group(spec: JobSpec) -> str | None:
    """Return the id or name of the group that a job is to join. Raises InvalidRequest when it is neither."""
    group = given(spec.group)
    if group is None:
        return None
    text = str(group)
    return str(int(Id.parse(text))) if text.isdecimal() else check_group_name(text)
