"""Routes that people name: functions, revisions and URLs of their own, as Capsule's reverse proxy took them."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from piecework.server.errors import FunctionExists, FunctionNotFound, RevisionExists, RevisionNotFound, UrlNotFound
from piecework.server.services.core import Core
from piecework.server.services.functions.names import check_name, check_url
from piecework.server.services.functions.routing import DEFAULT, Routing
from piecework.server.store.engine.database import Connection, Database
from piecework.server.store.functions import functions
from piecework.server.store.functions.functions import FILE, REQUEST, Function, Revision, Url

T = TypeVar("T")

RouteFile = Mapping[str, Mapping[str, Sequence[str]]]
"""URLs by revision, by function."""


class Functions:
    """Adds and removes routes. Every change is stored, and counts for the next call."""

    def __init__(self, core: Core, routing: Routing) -> None:
        self._database, self._clock = core.database, core.clock
        self._routing = routing

    def register(self, function: str, revision: str, url: str) -> None:
        """Add a function with one revision at one URL. Raises FunctionExists or InvalidRequest."""
        self._change(partial(_register, check_name("function", function), _check(revision, url)))

    def remove(self, function: str) -> None:
        """Remove a function and all that serves it. Raises FunctionNotFound."""
        self._change(partial(_remove, function))

    def add_revision(self, function: str, revision: str, url: str) -> None:
        """Add a revision at one URL. Raises FunctionNotFound, RevisionExists or InvalidRequest."""
        self._change(partial(_add_revision, function, _check(revision, url)))

    def remove_revision(self, function: str, revision: str) -> None:
        """Remove a revision and all that serves it; ``default`` where it is an alias: only that.

        Raises FunctionNotFound or RevisionNotFound.
        """
        self._change(partial(_remove_revision, function, revision))

    def add_url(self, function: str, revision: str, url: str) -> None:
        """Add a URL to a revision. Safe to repeat. Raises FunctionNotFound, RevisionNotFound or InvalidRequest."""
        self._change(partial(_add_url, function, _check(revision, url)))

    def remove_url(self, function: str, revision: str, url: str) -> None:
        """Remove a URL from a revision. Raises FunctionNotFound, RevisionNotFound or UrlNotFound."""
        self._change(partial(_remove_url, function, revision, url))

    def urls(self, function: str, revision: str) -> list[str]:
        """Return the URLs that serve a revision. Raises FunctionNotFound or RevisionNotFound."""
        urls = self._routing.get_function(function).urls()
        if revision not in urls:
            raise RevisionNotFound(f"the function {function} has no revision {revision}")
        return urls[revision]

    def _change(self, work: Callable[[Connection, int], T]) -> T:
        now = self._clock()
        try:
            return self._database.write(lambda connection: work(connection, now))
        finally:
            self._routing.note_change()


def require_function(connection: Connection, name: str) -> Function:
    """Return a function. Raises FunctionNotFound."""
    found = functions.find_function(connection, name)
    if found is None:
        raise _no_function(name)
    return found


def lock_function(connection: Connection, name: str) -> Function:
    """Return a function that nobody else changes until this transaction ends. Raises FunctionNotFound."""
    found = functions.lock_function(connection, name)
    if found is None:
        raise _no_function(name)
    return found


def require_revision(connection: Connection, function: str, name: str) -> Revision:
    """Return a revision. Raises FunctionNotFound or RevisionNotFound."""
    known = require_function(connection, function)
    found = functions.find_revision(connection, function, name)
    if found is None:
        names = ", ".join(each.name for each in functions.list_revisions(connection, function))
        hint = f", and {DEFAULT} stands for another one" if name == DEFAULT and known.has_alias else ""
        raise RevisionNotFound(f"the function {function} has no revision {name}; it has {names or 'none'}{hint}")
    return found


def remove_function(connection: Connection, name: str) -> None:
    """Remove a function and all that belongs to it. Raises FunctionNotFound."""
    if not functions.delete_function(connection, name):
        raise _no_function(name)


def _no_function(name: str) -> FunctionNotFound:
    return FunctionNotFound(f"there is no function {name}")


def load_routes(database: Database, routes: RouteFile, now: int) -> None:
    """Have the routes of the configuration file be those: URLs that came from an earlier one are dropped.

    What was added by requests stays. Raises InvalidRequest for a name or URL that cannot be.
    """
    for function, urls in routes.items():
        check_name("function", function)
        for revision, listed in urls.items():
            for url in listed:
                _check(revision, url)
    database.write(partial(_replace_file_routes, routes, now))


def _replace_file_routes(routes: RouteFile, now: int, connection: Connection) -> None:
    before = {each[:2] for each in functions.list_urls(connection) if each.source == FILE}
    functions.delete_urls_from(connection, FILE)
    for function, urls in routes.items():
        functions.add_function(connection, function, now)
        for revision, listed in urls.items():
            functions.add_revision(connection, Revision(function, revision, None, None, 0, now))
            for place, url in enumerate(listed):  # their times keep them in order
                functions.add_url(connection, Url(function, revision, url, FILE, now + place))
    in_file = {(function, revision) for function, urls in routes.items() for revision in urls}
    _drop_empty(connection, before - in_file)


def _drop_empty(connection: Connection, revisions: set[tuple[str, str]]) -> None:
    """Remove those of some revisions that nothing serves any more, and functions that have no other."""
    served = {each[:2] for each in functions.list_urls(connection)}
    for function, name in revisions - served:
        known, found = (
            functions.lock_function(connection, function),
            functions.find_revision(connection, function, name),
        )
        if known is not None and found is not None and found.lambda_id is None:
            functions.set_default(connection, function, *known.default_without(name))
            functions.delete_revision(connection, function, name)
            if not functions.list_revisions(connection, function):
                functions.delete_function(connection, function)


def _check(revision: str, url: str) -> tuple[str, str]:
    return check_name("revision", revision), check_url(url)


def _register(function: str, route: tuple[str, str], connection: Connection, now: int) -> None:
    if not functions.add_function(connection, function, now):
        raise FunctionExists(f"there is a function {function} already")
    _add_revision(function, route, connection, now)


def _remove(function: str, connection: Connection, _now: int) -> None:
    remove_function(connection, function)


def _add_revision(function: str, route: tuple[str, str], connection: Connection, now: int) -> None:
    known, (revision, url) = lock_function(connection, function), route
    if revision == DEFAULT and known.has_alias:
        raise RevisionExists(f"the function {function} has a {DEFAULT} already, which stands for another revision")
    if not functions.add_revision(connection, Revision(function, revision, None, None, 0, now)):
        raise RevisionExists(f"the function {function} has a revision {revision} already")
    functions.add_url(connection, Url(function, revision, url, REQUEST, now))


def _remove_revision(function: str, revision: str, connection: Connection, _now: int) -> None:
    known = lock_function(connection, function)
    if revision == DEFAULT and known.has_alias:
        functions.set_default(connection, function, None, None)
        return
    require_revision(connection, function, revision)
    functions.set_default(connection, function, *known.default_without(revision))
    functions.delete_revision(connection, function, revision)


def _add_url(function: str, route: tuple[str, str], connection: Connection, now: int) -> None:
    require_revision(connection, function, route[0])
    functions.add_url(connection, Url(function, *route, REQUEST, now))


def _remove_url(function: str, revision: str, url: str, connection: Connection, _now: int) -> None:
    require_revision(connection, function, revision)
    if not functions.delete_url(connection, function, revision, url):
        raise UrlNotFound(f"the revision {revision} of {function} has no URL {url[:200]!r} that somebody added")
