"""Python functions as lambdas: the source of one is the code, arguments and result travel as JSON or bytes."""

import copy
import inspect
import json
from collections.abc import Callable, Generator, Iterable
from functools import cache, cached_property, update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeVar, Unpack, cast, overload

from piecework.client.api import Client
from piecework.client.errors import JobFailed, NotFound
from piecework.client.queue.jobs.handles import Job
from piecework.client.queue.jobs.inputs import Input
from piecework.client.queue.jobs.jobs import JobOptions
from piecework.client.queue.jobs.mapping import MapOptions
from piecework.client.queue.jobs.results import JobResult
from piecework.client.stock.lambdas import LambdaOptions
from piecework.modules import resolve_runtime
from piecework.modules.choice import MICROPYTHON, PYTHON
from piecework.protocol.ids import Id
from piecework.python_source import carry

if TYPE_CHECKING:
    from piecework.client.async_api import AsyncClient

P = ParamSpec("P")
R = TypeVar("R")

RAISED = 70
"""The exit code of a function that raised: what it wrote to its output is the traceback."""
TEMPLATE = Path(__file__).parent / "templates" / "function.py.txt"
BYTES = (bytes, "bytes")
"""The annotation of what travels as it is."""


class FunctionRaised(JobFailed):
    """The function raised an exception where it ran. It is shown with its traceback there."""

    def __init__(self, failed: JobFailed, traceback: str) -> None:
        last = traceback.strip().rpartition("\n")[2]
        super().__init__(failed.job, failed.kind, last, failed.exit_code)
        self.traceback = traceback
        """The traceback, as Python writes it."""
        self.add_note(f"\n{traceback.strip()}")


class PythonCall(Generic[R]):
    """A call of a function that runs as a job."""

    def __init__(self, function: "PythonLambda[Any, R]", job: Job) -> None:
        self._function = function
        self.job = job
        """Its job: to look at, to cancel, to wait for with others."""

    def result(self, timeout_s: float | None = None) -> R:
        """Wait until it has ended and return what the function returned.

        Raises FunctionRaised for an exception inside, JobFailed or JobCancelled when the job ended otherwise, and
        StillRunning after ``timeout_s`` seconds (None: never).
        """
        [(_, found)] = self.job.client.results([self.job], timeout_s)
        return self._function.read(found, self.job.client)

    def cancel(self) -> str:
        """Cancel its job and return what the server says."""
        return self.job.cancel()

    def __repr__(self) -> str:
        return f"PythonCall({self._function.name}, {self.job!r})"


class PythonLambda(Generic[P, R]):
    """A Python function that also runs as jobs. Called as it is, it runs here and now.

    Its lambda is made when it is first needed, and is the same one for the same source: nothing is sent twice.
    """

    def __init__(
        self, function: Callable[P, R], runtime: str, client: Client | None, options: LambdaOptions
    ) -> None:
        """Raises CannotCarry for what cannot run elsewhere."""
        update_wrapper(self, function)
        self._function = function
        self._client = client
        self._runtime = resolve_runtime(runtime, lambda: None)
        if self._runtime.partition("+")[0] not in {PYTHON, MICROPYTHON}:
            raise ValueError(f"the runtime {runtime!r} runs no Python: {PYTHON} and {MICROPYTHON} do")
        self._lambda_options: LambdaOptions = {"name": function.__name__, **options, "reuse": True}
        self._job_options: JobOptions = {}
        self._signature = inspect.signature(function)
        parameters = list(self._signature.parameters.values())
        self._takes_bytes = len(parameters) == 1 and parameters[0].annotation in BYTES
        self._gives_bytes = self._signature.return_annotation in BYTES
        self.source = self._write_source()
        """The script that is the lambda's code."""
        self._made: dict[str, Id] = {}
        """The ids of its lambda, by the server."""

    @property
    def name(self) -> str:
        """What the function is called."""
        return self._function.__name__

    @cached_property
    def client(self) -> Client:
        """The client that it uses: the one that it was given, or one for the server of the environment."""
        return self._client or _usual_client()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._function(*args, **kwargs)

    def using(self, client: Client | None = None, **options: Unpack[JobOptions]) -> Self:
        """Return this function with another client, or with options for its jobs."""
        other = copy.copy(self)
        other._client = client or self._client  # noqa: SLF001  # its own kind
        other.__dict__.pop("client", None)
        other._job_options = {**self._job_options, **options}  # noqa: SLF001  # its own kind
        return other

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> PythonCall[R]:
        """Submit a job that calls the function with these arguments.

        Raises TypeError for arguments that it does not take, or that are no JSON.
        """
        content = self._write_input(args, kwargs)
        try:
            job = self.client.submit(self.lambda_id(), content, **self._job_options.copy())
        except NotFound:  # the lambda was deleted
            self._made.pop(self.client.url, None)
            job = self.client.submit(self.lambda_id(), content, **self._job_options.copy())
        return PythonCall(self, job)

    def remote(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function as a job and return what it returned. Raises like ``PythonCall.result``."""
        return self.submit(*args, **kwargs).result()

    def map(self, inputs: Iterable[Any], **options: Unpack[MapOptions]) -> Generator[R, None, None]:
        """Call the function with each input as its one argument, as jobs, and go through what it returned.

        Options are those of ``Client.map``. Raises at its place what ``PythonCall.result`` raises.
        """
        contents = (self._write_input((each,), {}) for each in inputs)
        merged = cast("MapOptions", {**self._job_options, **options})
        results = self.client.map(self.lambda_id(), contents, errors="return", **merged)
        try:
            for each in results:
                yield self.read(each, self.client)
        finally:
            results.close()

    def lambda_id(self) -> Id:
        """Return the id of its lambda, which is made, or found, if need be."""
        client = self.client
        found = self._made.get(client.url)
        if found is None:
            found = client.create_lambda(self.source.encode(), self._runtime, **self._lambda_options)
            self._made[client.url] = found
        return found

    async def remote_async(self, client: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function as a job with a client for event loops, and return what it returned; as ``remote``."""
        content = self._write_input(args, kwargs)
        try:
            job = await client.submit(await self._lambda_of(client), content, **self._job_options.copy())
        except NotFound:  # the lambda was deleted
            self._made.pop(client.url, None)
            job = await client.submit(await self._lambda_of(client), content, **self._job_options.copy())
        [found] = [result async for _, result in client.results([job])]
        return self._read(found, await client.failed_output(found.info) if _has_raised(found) else b"")

    async def _lambda_of(self, client: "AsyncClient") -> Id:
        found = self._made.get(client.url)
        if found is None:
            found = await client.create_lambda(self.source.encode(), self._runtime, **self._lambda_options)
            self._made[client.url] = found
        return found

    def read(self, found: JobResult, client: Client) -> R:
        """Return what a job of it returned. Raises like ``PythonCall.result``."""
        return self._read(found, client.failed_output(found.info) if _has_raised(found) else b"")

    def _read(self, found: JobResult, traceback: bytes) -> R:
        try:
            output = found.read()
        except JobFailed as error:
            if not traceback:
                raise
            raise FunctionRaised(error, traceback.decode(errors="replace")) from None
        return cast("R", output if self._gives_bytes else json.loads(output))

    def _write_input(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Input:
        bound = self._signature.bind(*args, **kwargs)
        if self._takes_bytes:
            [value] = bound.arguments.values() or [b""]
            return value
        try:
            return json.dumps({"args": args, "kwargs": kwargs}).encode()
        except (TypeError, ValueError) as error:
            raise TypeError(f"arguments of {self.name} travel as JSON: {error}") from error

    def _write_source(self) -> str:
        carried = carry(self._function, lambda found: found is function).write()
        words = {"NAME": self.name, "TAKES_BYTES": self._takes_bytes, "GIVES_BYTES": self._gives_bytes}
        head, _, tail = TEMPLATE.read_text().partition("# CARRIED\n")
        for word, value in {**words, "RAISED": RAISED}.items():
            tail = tail.replace(f"_piecework_{word}_", str(value))
        future = "from __future__ import annotations\n\n" if self._runtime.startswith(PYTHON) else ""
        return f"{future}{head}{carried}{tail}"

    def __repr__(self) -> str:
        return f"PythonLambda({self.name}, runtime={self._runtime!r})"


def _has_raised(found: JobResult) -> bool:
    """Tell whether a function raised: its output then is the traceback."""
    return not found.ok and found.info.exit_code == RAISED


@cache
def _usual_client() -> Client:
    return Client()


@overload
def function(function: Callable[P, R], /) -> PythonLambda[P, R]: ...
@overload
def function(
    *, runtime: str = ..., client: Client | None = ..., **options: Unpack[LambdaOptions]
) -> Callable[[Callable[P, R]], PythonLambda[P, R]]: ...
def function(
    given: Callable[..., Any] | None = None,
    /,
    *,
    runtime: str = PYTHON,
    client: Client | None = None,
    **options: Unpack[LambdaOptions],
) -> Any:
    """Have a Python function run as jobs too: by ``submit``, ``remote`` and ``map``. It is a decorator.

    What travels is its source, with the constants, imports of the standard library and functions of its module
    that it uses. Arguments and result are JSON; a result that is annotated as bytes, and a single argument that
    is, travel as they are. ``runtime`` is ``python3.12`` or ``micropython``, which starts in a millisecond and
    knows less. ``client``: None for one of the server that the environment names. Options are those of
    ``create_lambda``. Raises CannotCarry for closures, other decorators, and other globals.
    """

    def decorate(given: Callable[..., Any]) -> PythonLambda[..., Any]:
        return PythonLambda(given, runtime, client, options)

    return decorate if given is None else decorate(given)
