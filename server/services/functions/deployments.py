"""Deployments: revisions with their lambdas, how many replicas they are to have, which of them is the default."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

from msgspec import UnsetType
from msgspec.structs import replace as replace_options

from piecework.protocol.ids import Id
from piecework.protocol.messages import DeploymentPut, LambdaCreate
from piecework.server.errors import InvalidRequest, RevisionExists, RevisionInUse
from piecework.server.services.core import Core
from piecework.server.services.functions.functions import lock_function, remove_function, require_revision
from piecework.server.services.functions.hosting import Hosting
from piecework.server.services.functions.routing import Routing
from piecework.server.services.functions.sources import Source, Sources, require_module
from piecework.server.services.stock.lambdas import Lambdas, store_lambda
from piecework.server.store.engine.database import Connection
from piecework.server.store.functions import ended_logs, functions, replicas
from piecework.server.store.functions.functions import Revision
from piecework.server.store.functions.kept_logs import KeptLog
from piecework.server.store.options import LambdaOptions
from piecework.server.store.records import Lambda
from piecework.server.store.stock import blobs, lambdas

T = TypeVar("T")
OPTIONS = ("args", "env", "tags", "limits", "grants", "recording")
"""What a revision is made with, beside its code."""
HTTP: Final = "http"
"""The mode of a function's lambda: without replicas, a call is a job with a request as its input."""


class Deployments:
    """Makes revisions of functions, changes how many replicas they are to have, removes them."""

    def __init__(self, core: Core, lambdas: Lambdas, sources: Sources, hosting: Hosting, routing: Routing) -> None:
        self._database, self._clock = core.database, core.clock
        self._lambdas = lambdas
        self._sources = sources
        self._hosting = hosting
        self._routing = routing

    def deploy(self, function: str, revision: str, request: DeploymentPut) -> None:
        """Make a revision, and the function if need be; or change how many replicas the revision is to have.

        Safe to repeat. Raises RevisionExists when there is one of this name that is not the same, InvalidRequest,
        ModuleNotFound, ModuleInvalid or LambdaNotFound.
        """
        source = self._sources.find(request)
        lambda_ = self._describe(f"{function}/{revision}", source, request)
        wanted = None if isinstance(request.replicas, UnsetType) else request.replicas
        new = Revision(
            function, revision, lambda_.id, source.module, 1 if wanted is None else wanted, self._clock()
        )
        self._write(partial(self._store, new=new, lambda_=lambda_, wanted=wanted, make_default=request.default))

    def _describe(self, name: str, source: Source, request: DeploymentPut) -> Lambda:
        """Return the revision's lambda: a new one, or the one that the request names when that is the same."""
        given = source.lambda_
        options = LambdaOptions() if given is None else given.options
        if options.deterministic:
            raise InvalidRequest(
                "the lambda is deterministic: its clock and random numbers come from a job, which a call has not"
            )
        if options.record:
            raise InvalidRequest(
                "the lambda is recorded: a journal is kept beside a job, which a call has not; "
                "`record` of the deployment has calls recorded"
            )
        runtime = _pick(request.runtime, "") or (given.runtime if given else self._sources.detect_runtime(source))
        wanted = self._lambdas.prepare(
            LambdaCreate(
                codex=Id(source.codex),
                runtime=runtime,
                name=name,
                tags=_pick(request.tags, list(options.tags)),
                args=_pick(request.args, list(options.args)),
                env=_pick(request.env, options.env),
                limits=_pick(request.limits, options.limits),
                grants=_pick(request.grants, options.grants),
                mode=HTTP,
                source=_pick(request.source, options.source or None),
                gate=request.gate,
            )
        )
        recording = _pick(request.record, options.recording)
        wanted = replace(wanted, options=replace_options(wanted.options, recording=recording))
        is_given = given and given.runtime == wanted.runtime
        return (
            given if given and is_given and options.without_order() == wanted.options.without_order() else wanted
        )

    def _store(
        self, connection: Connection, new: Revision, lambda_: Lambda, wanted: int | None, *, make_default: bool
    ) -> None:
        is_first = functions.add_function(connection, new.function, new.created_at)
        lock_function(connection, new.function)
        old = functions.find_revision(connection, new.function, new.name)
        if old is None:
            if new.module is not None:
                require_module(connection, new.module)
            if not lambdas.find_lambdas(connection, {lambda_.id}):
                store_lambda(connection, lambda_)
            functions.add_revision(connection, new)
        else:
            _check_same(connection, old, lambda_)
            if wanted is not None:
                functions.change_revision(connection, old._replace(replicas=wanted))
        if is_first or make_default:
            functions.set_default(connection, new.function, new.name, None)

    def scale(self, function: str, revision: str, wanted: int) -> None:
        """Change how many replicas a revision is to have.

        Raises FunctionNotFound, RevisionNotFound, and InvalidRequest when there is nothing to run.
        """

        def store(connection: Connection) -> None:
            known = require_revision(connection, function, revision)
            if known.lambda_id is None:
                raise InvalidRequest(f"{function}/{revision} is known by its URLs only: there is nothing to run")
            functions.change_revision(connection, known._replace(replicas=wanted))

        self._write(store)

    def set_default(self, function: str, revision: str | None) -> None:
        """Send calls that name no revision to this one, or nowhere. A split ends.

        Raises FunctionNotFound or RevisionNotFound.
        """

        def store(connection: Connection) -> None:
            lock_function(connection, function)
            if revision is not None:
                require_revision(connection, function, revision)
            functions.set_default(connection, function, revision, None)

        self._write(store)

    def split(self, function: str, weights: Mapping[str, int]) -> None:
        """Divide calls that name no revision among some by weight. The default ends.

        Raises FunctionNotFound, RevisionNotFound or InvalidRequest.
        """
        if not weights:
            raise InvalidRequest('weights is empty; it names revisions, as {"blue": 90, "green": 10}')

        def store(connection: Connection) -> None:
            lock_function(connection, function)
            for revision in weights:
                require_revision(connection, function, revision)
            functions.set_default(connection, function, None, weights)

        self._write(store)

    def remove_revision(self, function: str, revision: str, *, force: bool) -> None:
        """Remove a revision; with the last one the function goes. Its replicas get no more calls, and stop.

        Raises FunctionNotFound, RevisionNotFound, and RevisionInUse when it gets the calls that name no revision,
        unless ``force`` is set.
        """
        self._write(partial(_remove, function=function, revision=revision, force=force))

    def remove_function(self, function: str) -> None:
        """Remove a function with all of its revisions. Raises FunctionNotFound."""
        self._write(partial(remove_function, name=function))

    def read_logs(self, function: str, revision: str) -> list[KeptLog]:
        """Return the logs of the replicas of a revision: of those that ended last, then of those that there are.

        Raises FunctionNotFound or RevisionNotFound.
        """
        with self._database.read() as connection:
            require_revision(connection, function, revision)
            there_are = replicas.read_logs(connection, function, revision)
            return ended_logs.list_ended(connection, function, revision) + there_are

    def _write(self, work: Callable[[Connection], None]) -> None:
        """Store a change, and have it count for the next call and the next report."""
        try:
            self._database.write(work)
            self._hosting.look_around()
        finally:
            self._routing.note_change()


def _remove(connection: Connection, function: str, revision: str, *, force: bool) -> None:
    known = lock_function(connection, function)
    require_revision(connection, function, revision)
    if len(functions.list_revisions(connection, function)) == 1:
        functions.delete_function(connection, function)
        return
    default = known.default_without(revision)
    if default != (known.default_revision, known.split):
        if not force:
            raise RevisionInUse(
                f"{function}/{revision} gets the calls that name no revision: give them to another one first,"
                " or force it"
            )
        functions.set_default(connection, function, *default)
    functions.delete_revision(connection, function, revision)


def _check_same(connection: Connection, old: Revision, now: Lambda) -> None:
    """Raise RevisionExists unless a revision that is there is what was asked for."""
    name = f"{old.function}/{old.name}"
    if old.lambda_id is None:
        raise RevisionExists(f"{name} is there already, and known by its URLs only: deploy under another name")
    before = lambdas.find_lambdas(connection, {old.lambda_id})[old.lambda_id]
    digests = blobs.find_digests(connection, {before.codex, now.codex})
    differences = [] if digests.get(before.codex) == digests.get(now.codex) else ["code"]
    if before.runtime != now.runtime:
        differences.append("runtime")
    was, is_now = before.options.without_order(), now.options.without_order()
    differences += [each for each in OPTIONS if getattr(was, each) != getattr(is_now, each)]
    if differences:
        raise RevisionExists(
            f"{name} is there already, with other {' and '.join(differences)}; a revision never changes:"
            " deploy this as another one"
        )


def _pick(given: T | UnsetType, otherwise: T) -> T:
    return otherwise if isinstance(given, UnsetType) else given
