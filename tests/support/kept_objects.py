"""How much a program keeps: to tell whether it becomes more."""

from collections import deque
from collections.abc import Collection, Mapping
from functools import partial


def count_objects(*roots):
    """Count what the containers hold that are reached from some objects, through objects of types of ours."""
    seen, waiting, count = set(), deque(roots), 0
    while waiting:
        found = waiting.popleft()
        if id(found) in seen or isinstance(found, str | bytes | int | type):
            continue
        seen.add(id(found))
        if isinstance(found, Mapping):
            waiting += [*found.keys(), *found.values()]
            count += len(found)
        elif isinstance(found, Collection):
            waiting += found
            count += len(found)
        elif isinstance(found, partial):
            waiting += [found.func, found.args, found.keywords]
        elif type(found).__module__.startswith(("server", "worker_agent", "piecework")):
            names = [name for each in type(found).__mro__ for name in getattr(each, "__slots__", ())]
            waiting += [getattr(found, name) for name in names if hasattr(found, name)]
            waiting += getattr(found, "__dict__", {}).values()
        else:
            waiting.append(getattr(found, "__self__", None))
    return count
