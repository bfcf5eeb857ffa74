"""Submitting jobs: checking what was asked for, then storing it in one transaction."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, partial
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from piecework.protocol.matching import TagSet
from piecework.protocol.messages import Content, JobSpec, given, read_ref
from piecework.protocol.names import LambdaRef
from piecework.protocol.states import JobState
from piecework.protocol.text import read_file_name
from piecework.server.errors import InvalidRequest, KeyConflict
from piecework.server.services.core import Core
from piecework.server.services.queue.dependencies.folders import add_needs, check_total, read_files, store_files
from piecework.server.services.queue.dependencies.parents import (
    check_order,
    connect,
    read_input,
    read_labels,
    read_needs,
)
from piecework.server.services.queue.lifecycle.memo_terms import find_memo_terms
from piecework.server.services.queue.submitting.drafts import Draft, find_inputs, identify_all, recognize
from piecework.server.services.queue.submitting.grouping import join_groups, read_group
from piecework.server.services.queue.submitting.identity import (
    Identity,
    Terms,
    input_meaning,
)
from piecework.server.services.queue.submitting.intake import lane_tags, take_in
from piecework.server.services.queue.submitting.jobspecs import (
    check_key,
    first_state,
    read_key,
    read_options,
    read_tags,
    read_tenant,
    to_ms,
)
from piecework.server.services.queue.submitting.quotas import Allowed
from piecework.server.services.queue.submitting.repetitions import find_meant, pin_names
from piecework.server.services.queue.trust.memos import Asked, Memos
from piecework.server.services.queue.waiting.waiting import Changes, ContractWaiter, Notifier, TakeTurn
from piecework.server.services.queue.webhooks.webhooks import Webhooks
from piecework.server.services.stock.data import Data
from piecework.server.services.stock.keys import read_keys
from piecework.server.services.stock.lambdas import Lambdas, read_retention
from piecework.server.services.stock.outputs import check_has_folders
from piecework.server.services.traces import current_trace
from piecework.server.store.engine.database import Connection
from piecework.server.store.options import NO_OPTIONS
from piecework.server.store.queue.jobs import submissions
from piecework.server.store.records import Lambda, Lane, NewJob
from piecework.server.store.stock import blobs

SUBMISSION_KEYS_MS = 24 * 3600 * 1000
"""How long the key of a bulk submission is known."""
LATEST_MAX = 50
"""Lambdas of which the latest plan is kept: one may have the 256 KB that arguments and environment take."""
NO_TIMES = (None, None, None)
FORGOTTEN = 100
"""Keys of bulk submissions that are forgotten at once."""


class _Whole(NamedTuple):
    """What tells a repeated submission of many jobs."""

    key: str
    identity: Identity


class _Charge(NamedTuple):
    """What a submission takes of a quota, beside the number of its jobs."""

    allowed: Allowed
    parents: frozenset[int]
    """Jobs that are to be of the same token."""


class _LatestPlan(NamedTuple):
    """What jobs of these words are to be: nothing of it depends on when they come."""

    spec: JobSpec
    lambda_: Lambda
    submitter: str | None
    terms: Terms


class Stored(NamedTuple):
    """What a submission did."""

    ids: list[int]
    changes: Changes
    answer: Any = None
    """For the contract that got the job at once."""


class Submission:
    """Takes jobs in."""

    def __init__(
        self, core: Core, data: Data, lambdas: Lambdas, webhooks: Webhooks, notifier: Notifier, memos: Memos
    ) -> None:
        self._database, self._ids, self._clock, self._settings = core.database, core.ids, core.clock, core.settings
        self._data = data
        self._lambdas = lambdas
        self._webhooks = webhooks
        self._notifier = notifier
        self._memos = memos
        self._latest: dict[int, _LatestPlan] = {}
        """What the latest submission of a lambda asked for that others may ask for in the same words."""

    def submit_many(
        self,
        specs: Sequence[JobSpec],
        key: str | None,
        submitter: str | None = None,
        allowed: Allowed | None = None,
    ) -> list[int]:
        """Do what ``submit`` does; with a key, repeating the whole submission gives the same jobs again."""
        return self.submit(specs, None if key is None else check_key(key), submitter, allowed)

    def forget_old_keys(self) -> bool:
        """Forget some keys of bulk submissions that nobody repeats any more. Returns whether there may be more."""
        before = self._clock() - SUBMISSION_KEYS_MS
        return (
            self._database.write(partial(submissions.forget_submissions, before=before, limit=FORGOTTEN))
            == FORGOTTEN
        )

    def submit(
        self,
        specs: Sequence[JobSpec],
        whole_key: str | None = None,
        submitter: str | None = None,
        allowed: Allowed | None = None,
    ) -> list[int]:
        """Store jobs, all or none, and return their ids in order. They are on disk when this returns.

        A job whose idempotency key is known is not stored again: the earlier job's id is returned. A submission
        whose ``whole_key`` is known stores nothing and returns the ids of the first. ``submitter``: the name of
        the token that they are submitted with; ``allowed``: what its quota allows. Raises InvalidRequest,
        LambdaNotFound, BlobNotFound, KeyConflict, WebhookNotFound, Forbidden or QuotaReached; then nothing is
        stored.
        """
        if len(specs) > self._settings.bulk_max:
            raise InvalidRequest(f"{len(specs)} jobs in one request; at most {self._settings.bulk_max} are taken")
        try:
            return self._submit(specs, whole_key, submitter, allowed)
        except KeyConflict:
            # A name means the newest lambda: a submission that is repeated means the one that it meant first.
            with self._database.read() as connection:
                meant = find_meant(connection, specs, whole_key)
            pinned = pin_names(specs, self._lambdas.get_many(meant.values()), meant)
            if pinned == specs:
                raise
            return self._submit(pinned, whole_key, submitter, allowed)

    def _submit(
        self, specs: Sequence[JobSpec], whole_key: str | None, submitter: str | None, allowed: Allowed | None
    ) -> list[int]:
        now = self._clock()
        if allowed:
            allowed.check_lambdas(self._lambdas.resolve_many({_lambda_ref(spec) for spec in specs}).values())
        drafts = self.prepare(specs, submitter, now)
        whole = None if whole_key is None else _Whole(whole_key, identify_all(specs, drafts))
        needs = (need for draft in drafts for need in draft.needs)
        quota = _Charge(allowed, allowed.check_specs(specs, needs)) if allowed else None
        with self._engage(drafts) as waiter:
            take_turn = waiter.take_turn if waiter else None
            stored = self._database.write(partial(self._store, drafts, now, whole, take_turn, quota))
            if waiter:
                waiter.answer = stored.answer
        self._notifier.notify(stored.changes)
        return stored.ids

    def prepare(self, specs: Sequence[JobSpec], submitter: str | None, now: int) -> list[Draft]:
        """Check jobs that ``store`` then takes in. Raises InvalidRequest, LambdaNotFound or WebhookNotFound."""
        known = self._lambdas.resolve_many({_lambda_ref(spec) for spec in specs})
        new_ids = self._ids.take(2 * len(specs))  # for jobs and for their inputs
        drafts: list[Draft] = []
        asked: JobSpec | None = None
        files = 0
        for spec, id_, input_id in zip(specs, new_ids[::2], new_ids[1::2], strict=True):
            # The jobs of one submission are mostly alike but for their inputs: what is alike is read once.
            alike = msgspec.structs.replace(spec, input=UNSET, key=UNSET, label=UNSET)
            if alike != asked:
                asked, terms = alike, self._find_plan(alike, known[_lambda_ref(alike)], submitter, now)
            drafts.append(self._draft(spec, terms, id_, input_id, now))
            files += len(terms.files)
        check_total(files)
        check_order([draft.needs for draft in drafts], read_labels(specs))
        return drafts

    def store(self, connection: Connection, drafts: Sequence[Draft], now: int) -> Stored:
        """Store jobs inside the caller's transaction, which tells of their changes once it is committed.

        Raises BlobNotFound or KeyConflict.
        """
        return self._store(drafts, now, None, None, None, connection)

    def _engage(self, drafts: Sequence[Draft]) -> AbstractContextManager[ContractWaiter | None]:
        """Find a contract that waits for the one job that is submitted, to lease it in the same transaction."""
        if len(drafts) != 1 or drafts[0].job.state is not JobState.ENQUEUED or drafts[0].needs:
            return nullcontext()
        return self._notifier.waiters.engage(_find_lane(drafts[0].job.runtime, lane_tags(drafts[0].job)))

    def _find_plan(self, spec: JobSpec, lambda_: Lambda, submitter: str | None, now: int) -> Terms:
        """Do what ``_plan`` does. Who submits jobs one by one mostly asks for the same again."""
        latest, trace = self._latest.get(lambda_.id), current_trace()
        is_same = latest and latest.lambda_ is lambda_ and latest.submitter == submitter and latest.spec == spec
        if latest and is_same and trace is None:
            return latest.terms
        terms = self._plan(spec, lambda_, submitter, now)
        if terms.when == NO_TIMES and not terms.files and given(spec.on_end) is None and trace is None:
            if len(self._latest) >= LATEST_MAX:
                self._latest = {}
            self._latest[lambda_.id] = _LatestPlan(spec, lambda_, submitter, terms)
        return terms

    def _plan(self, spec: JobSpec, lambda_: Lambda, submitter: str | None, now: int) -> Terms:
        """Check what a job asks for, all but its input and key. Raises InvalidRequest or WebhookNotFound."""
        state, due_at = first_state(spec, now)
        files = read_files(spec, lambda content: self._data.prepare_bytes(content, self._ids.next(), now))
        options = read_options(spec, lambda_, files)
        if options.has_folder:
            check_has_folders(lambda_.runtime)
        if options.on_end is not None:
            self._webhooks.check_name(options.on_end)
        max_attempts = options.max_attempts or self._settings.max_attempts
        tags, expires_at = read_tags(spec, lambda_), to_ms(spec.expires_at)
        kept = None if options == NO_OPTIONS else options
        retain = lambda_.options.retain_ms if given(spec.retain_s) is None else read_retention(spec.retain_s)
        when = (to_ms(spec.run_at), given(spec.delay_s), expires_at)
        common = NewJob(
            0, 0, None, None, lambda_.id, lambda_.runtime, state, spec.priority, max_attempts, due_at, expires_at,
            tags, kept, submitter=submitter, retain_ms=retain,
            keys=read_keys(spec, lambda_.options.keys),
            tenant=read_tenant(spec, submitter),
            trace=current_trace(),
        )  # fmt: skip
        needs = add_needs(read_needs(spec), files)
        terms = Terms(common, when, needs, read_group(spec), files)
        if lambda_.options.memo and given(spec.memo) is not False and state is JobState.ENQUEUED and not needs:
            terms.memo = find_memo_terms(lambda_, options, common.tenant, self._settings.default_limits)
        return terms

    def _draft(self, spec: JobSpec, terms: Terms, id_: int, input_id: int, now: int) -> Draft:
        """Check a job's input and key. Raises InvalidRequest that says what is wrong with them."""
        source = read_input(spec)
        ref = None if spec.input is UNSET or source else spec.input
        try:
            content, named = read_ref(ref)
        except ValueError as error:
            raise InvalidRequest(f"the input is wrong: {error}") from error
        blob = None if content is None else self._data.prepare_bytes(content, input_id, now)
        if blob and isinstance(ref, Content) and isinstance(ref.name, str):
            blob = blob._replace(name=read_file_name(ref.name))
        job = terms.job.like_this(id_, blob.id if blob else named or 0, read_key(spec))
        if source is not None:
            return Draft(job, None, terms, source.ref.encode(), (*terms.needs, source), given(spec.label))
        meaning = None if content is None else input_meaning(ref, content)
        return Draft(job, blob, terms, meaning, terms.needs, given(spec.label))

    def _store(
        self,
        drafts: Sequence[Draft],
        now: int,
        whole: "_Whole | None",
        take_turn: TakeTurn | None,
        quota: "_Charge | None",
        connection: Connection,
    ) -> Stored:
        if whole and (earlier := submissions.find_submission(connection, whole.key)):
            if not whole.identity.matches(earlier[0]):
                raise KeyConflict(f"an earlier submission has the key {whole.key!r} and other content")
            return Stored(earlier[1], Changes())
        inputs = find_inputs(connection, drafts)
        ids, fresh = recognize(connection, drafts, inputs)
        if quota:
            quota.allowed.charge(connection, len(fresh), quota.parents, now)
        blobs.add_blobs(connection, [draft.content for draft in fresh if draft.content is not None])
        new = [draft.job for draft in fresh]
        if refs := list(dict.fromkeys(draft.terms.group for draft in fresh if draft.terms.group)):
            joined = join_groups(connection, refs, self._ids.take(len(refs)), new[0].submitter, now)
            places = (joined.get(draft.terms.group or "") for draft in fresh)
            new = [job._replace(group_id=group) for job, group in zip(new, places, strict=True)]
        changes = Changes()
        if any(draft.needs for draft in fresh):
            labels = {draft.label: place for place, draft in enumerate(drafts) if draft.label is not None}
            needs = [draft.needs for draft in fresh]
            new = connect(connection, new, needs, ids, labels, changes, now)
        if any(draft.terms.files for draft in fresh):
            labels = {draft.label: place for place, draft in enumerate(drafts) if draft.label is not None}
            store_files(connection, [(draft.job, draft.terms.files) for draft in fresh], ids, labels)
        ready = self._take_in(connection, fresh, new, inputs, changes, now)
        if quota:
            quota.allowed.note(connection, [job.id for job in new])
        if whole:
            submissions.add_submission(connection, whole.key, whole.identity.digest, ids, now)
        answer, taken = take_turn(connection) if take_turn and ready else (None, Changes())
        for id_ in taken.jobs.keys() & ready.keys():
            del taken.jobs[id_], ready[id_]
        changes.add(taken)
        changes.enqueued.update(ready.values())
        return Stored(ids, changes, answer)

    def _take_in(
        self,
        connection: Connection,
        fresh: Sequence[Draft],
        new: Sequence[NewJob],
        inputs: dict[int, bytes],
        changes: Changes,
        now: int,
    ) -> dict[int, int]:
        """Store jobs, and answer those whose results are known. Returns what ``take_in`` does, without these."""
        asked = [
            Asked(job, each.terms.memo, each.find_input(inputs), each.terms.sum_files(inputs))
            for each, job in zip(fresh, new, strict=True)
            if each.terms.memo and not each.needs
        ]
        if not asked:
            return take_in(connection, self._ids, new, now)
        found = self._memos.look_up(connection, asked, now)
        files = {each.job.id: each.terms.files for each in fresh if each.terms.files}
        store_files(connection, [(job, files[id_]) for id_, job in found.checks.items() if id_ in files], (), {})
        new = [found.jobs.get(job.id, job) for job in new]
        ready = take_in(connection, self._ids, [*new, *found.checks.values()], now)
        self._memos.answer(connection, found, changes, now)
        return {id_: lane for id_, lane in ready.items() if id_ not in found.hits}


@lru_cache(maxsize=1000)
def _find_lane(runtime: str, tags: tuple[str, ...]) -> Lane:
    """Return the lane of such jobs, for comparisons: its id is not known here."""
    parsed = TagSet.parse(tags)
    return Lane(0, runtime, parsed.necessary, parsed.rejected)


def _lambda_ref(spec: JobSpec) -> LambdaRef:
    if not isinstance(spec.lambda_, str | int):
        raise InvalidRequest("a job needs `lambda`: the id or the name of the lambda to run")
    return spec.lambda_
