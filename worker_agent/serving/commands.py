"""``worker-agent exec`` and ``worker-agent serve``: a function on this machine, without a server.

What they need to do their work is imported when they do it: the agent starts without it.
"""

import contextlib
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from piecework.extras import require
from piecework.http.addresses import is_loopback, resolve_host
from piecework.http.ports import find_port
from piecework.http.urls import check_url
from piecework.oci.errors import OciError
from piecework.oci.references import Reference
from piecework.text.shares import SHARE
from piecework.worker_agent.config.setting_texts import MIB
from piecework.worker_agent.config.settings import LOG_FORMATS
from piecework.worker_agent.endings import describe_os_error
from piecework.worker_agent.errors import AgentError
from piecework.worker_agent.runtimes.base import Bounds
from piecework.worker_agent.serving.function import HTTP, Function
from piecework.worker_agent.serving.options import HELP, NodeContext, describe_function, function_options

if TYPE_CHECKING:
    from piecework.worker_agent.serving.recording import RecordingPlan

TOKEN_VARIABLE = "PIECEWORK_SERVE_TOKEN"  # noqa: S105  # the name of a variable
EXEC_BOUNDS = Bounds(timeout_s=math.inf, files_bytes=1024 * MIB, files_count=100_000)
SERVE_BOUNDS = Bounds()
QUEUE_PER_PROCESS = 32


def _check_endpoint(_context: click.Context, _option: click.Parameter, url: str) -> str:
    try:
        return check_url(url) if url else ""
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command(
    "exec",
    context_settings=HELP | {"allow_interspersed_args": False},
    short_help="Run a wasm module or script once.",
)
@function_options
@click.option(
    "--handler", type=click.Choice(["text", "json", "http"]), default="text", help="Of a Capsule module.  [text]"
)
@click.option("--seed", metavar="TEXT", help="Take clock and random numbers from this: always the same result.")
def exec_function(**options: Any) -> int:
    """Run a wasm module or script once, with our standard input, output and error.

    ARGs are the text for a function of Capsule, the JSON for one of FunLess, and the command line of others: all
    that follows FILE is theirs, also what begins with a dash. A function of the first two kinds logs and answers
    on standard output. The exit code is that of a command, else 1 when it fails: by a trap, at a limit, or as a
    function says; 141 when nobody reads its output any more, 130 on Ctrl-C.
    """
    from piecework.worker_agent.serving.launching import Launch  # noqa: PLC0415

    options["args"] = options["args"][options["args"][:1] == ("--",) :]  # as those who put it there mean it
    node = NodeContext(options)
    with _one_line_failures():
        _download(options)
        with (
            Launch(node.compiled, node.interpreters, node.rules, node.compile_bytes) as launch,
            _fetch(options) as options["file"],
        ):
            seed = None if options["seed"] is None else options["seed"].encode()
            function = describe_function(options, node, mode=options["handler"], usual=EXEC_BOUNDS, seed=seed)
            return launch.run(function)


@click.command(context_settings=HELP, short_help="Answer HTTP requests with a wasm module or script.")
@function_options
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8080,
    metavar="PORT",
    help="Port to listen on; 0: any free one.  [8080]",
)
@click.option(
    "--host", default="127.0.0.1", metavar="HOST", help="Address to listen on, or its name.  [127.0.0.1]"
)
@click.option("--open", "is_open", is_flag=True, help="Let everybody in who reaches an address of this machine.")
@click.option(
    "--handler",
    type=click.Choice(["text", "json", "http"]),
    default="http",
    help="Of a Capsule module; http: the best that it has for requests.  [http]",
)
@click.option(
    "--processes", type=click.IntRange(1, 256), metavar="N", help="Requests that run at once.  [one per CPU]"
)
@click.option(
    "--queue",
    type=click.IntRange(min=0),
    metavar="N",
    help="Requests that may wait for their turn.  [32 a process]",
)
@click.option(
    "--max-body", type=click.IntRange(min=1), default=16, metavar="MB", help="Largest body of a request.  [16]"
)
@click.option(
    "--underscore-headers", is_flag=True, help="Pass on headers with _ in their names; CGI takes it for -."
)
@click.option(
    "--crt", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Certificate: serve TLS."
)
@click.option("--key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its private key.")
@click.option("--log-format", type=click.Choice(LOG_FORMATS), default="console", help="[console]")
@click.option(
    "--grants",
    metavar="JSON",
    help="Grants of a lambda: less than all that is allowed here.  [all that is allowed]",
)
@click.option(
    "--otel-endpoint",
    metavar="URL",
    envvar="PIECEWORK_OTEL_ENDPOINT",
    default="",
    callback=_check_endpoint,
    help="Send traces there, by OTLP over HTTP.  [none; env PIECEWORK_OTEL_ENDPOINT]",
)
@click.option(
    "--record", type=SHARE, metavar="PERCENT", help="Record this share of the calls, such as 5%; see --record-to."
)
@click.option(
    "--record-to",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, writable=True, path_type=Path),
    help="Where each recorded call becomes a file; 20 at most lie there.",
)
@click.option(
    "--record-with",
    metavar="NAME",
    multiple=True,
    help="Record calls with this header or parameter, too, although its name looks secret.",
)
@click.option("--die-with-parent", is_flag=True, help="End when the program ends that started this.")
def serve(**options: Any) -> None:
    """Answer HTTP requests with a wasm module or script until stopped; each in a fresh instance.

    All methods and paths reach the function, but GET of /health, /metrics and /stats. SIGHUP takes the code that
    FILE has then; SIGTERM and SIGINT end it after the requests that it has. When the variable
    PIECEWORK_SERVE_TOKEN is set, callers must send it as the header Piecework-Replica-Token.
    """
    from piecework.worker_agent.logs import configure_logs  # noqa: PLC0415
    from piecework.worker_agent.serving.front import FrontOptions  # noqa: PLC0415
    from piecework.worker_agent.serving.server import Plan, end_with_parent, serve as serve_plan  # noqa: PLC0415

    if options["die_with_parent"]:
        end_with_parent()
    token = os.environ.get(TOKEN_VARIABLE) or None
    host = _find_host(options, token)
    node = NodeContext(options, supervised=options["die_with_parent"])
    configure_logs(options["log_format"], "info")
    if options["otel_endpoint"]:
        require("opentelemetry")
    with (
        _one_line_failures(),
        tempfile.TemporaryDirectory(prefix="piecework-serve-") as folder,
        contextlib.ExitStack() as files,
    ):
        _download(options)
        options["file"] = files.enter_context(_fetch(options))
        options["file"] = _keep_pipe(options["file"], Path(folder))
        function = describe_function(options, node, mode=options["handler"], usual=SERVE_BOUNDS)
        _try_code(function)
        port = find_port(host, options["port"])
        processes = options["processes"] or os.cpu_count() or 1
        plan = Plan(
            function=function,
            options=FrontOptions(
                port=port,
                body_bytes=options["max_body"] * MIB,
                token=token,
                underscores=options["underscore_headers"],
            ),
            compiled=node.compiled,
            compile_bytes=node.compile_bytes,
            interpreters=node.interpreters,
            processes=processes,
            queue=processes * QUEUE_PER_PROCESS if options["queue"] is None else options["queue"],
            log_format=options["log_format"],
            otel_endpoint=options["otel_endpoint"],
            recording=_plan_recording(options),
        )
        serve_plan(plan, host, options["crt"], options["key"])


def _find_host(options: dict[str, Any], token: str | None) -> str:
    """Return the address to listen on. Raises click.UsageError for options that do not go together."""
    with _one_line_failures():
        host = resolve_host(options["host"])
    _check_door(options, host, token)
    _check_recording(options)
    return host


def _check_door(options: dict[str, Any], host: str, token: str | None) -> None:
    """Raise click.UsageError for an address that is open to others by mistake, and half of what TLS needs."""
    if (options["crt"] is None) != (options["key"] is None):
        raise click.UsageError("--crt and --key belong together")
    for name in ("crt", "key"):
        if options[name] is not None and not options[name].is_file():
            raise click.UsageError(f"--{name} must be a file: it is read more than once")
    if options["crt"] is not None:
        _check_certificate(options["crt"], options["key"])
    if not is_loopback(host) and token is None and not options["is_open"]:
        raise click.UsageError(
            f"on {options['host']} anybody could call this function: set {TOKEN_VARIABLE}, which callers must "
            "show, or allow it with --open"
        )


def _check_recording(options: dict[str, Any]) -> None:
    if (options["record"] is None) != (options["record_to"] is None):
        raise click.UsageError("--record and --record-to belong together")
    if options["record_with"] and options["record"] is None:
        raise click.UsageError("--record-with goes with --record")
    if options["record"] is not None and options["handler"] != HTTP:
        raise click.UsageError(f"--record goes with --handler {HTTP}")


def _plan_recording(options: dict[str, Any]) -> "RecordingPlan | None":
    from piecework.worker_agent.serving.recording import RecordingPlan  # noqa: PLC0415

    if options["record"] is None:
        return None
    kept = frozenset(name.lower() for name in options["record_with"])
    return RecordingPlan(folder=options["record_to"].absolute(), share=options["record"], kept=kept)


def _check_certificate(certificate: Path, key: Path) -> None:
    import ssl  # noqa: PLC0415  # few functions speak TLS

    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        raise click.UsageError(
            f"{certificate} and {key} are no certificate and its key, as PEM and without a password: {error}"
        ) from error


def _download(options: dict[str, Any]) -> None:
    """Put the module of ``--url`` where FILE says, whole or not at all. Raises AgentError."""
    if options["url"] is None:
        return
    file: Path | Reference = options["file"]
    if isinstance(file, Reference):
        raise click.UsageError("--url puts a module into a file, and FILE names one in an OCI registry")
    with _own_folders(file.absolute().parent):
        _download_to(file, options["url"], options["ca"])


@contextlib.contextmanager
def _fetch(options: dict[str, Any]) -> Iterator[Path]:
    """Give the file with the code: that of FILE, or what it names in an OCI registry, until the block ends."""
    file: Path | Reference = options["file"]
    if not isinstance(file, Reference):
        yield file
        return
    from piecework.oci.exchange import RegistryAccess  # noqa: PLC0415
    from piecework.oci.pulling import fetched  # noqa: PLC0415

    access = RegistryAccess(os.environ, Path.home(), plain_http=options["plain_http"], ca=options["ca"])
    with contextlib.ExitStack() as stack:
        try:
            path, pulled = stack.enter_context(fetched(file, access))
        except OciError as error:
            raise AgentError(str(error)) from error
        if not file.digest:
            click.echo(f"worker-agent: pulled {pulled.reference}", err=True)
        yield path


@contextlib.contextmanager
def _own_folders(folder: Path) -> Iterator[None]:
    """Remove again, when the block fails, what it made of a folder and those above it."""
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        yield
    except BaseException:
        for each in made:
            with contextlib.suppress(OSError):
                each.rmdir()
        raise


def _download_to(file: Path, url: str, ca: Path | None) -> None:
    from piecework.worker_agent.downloads import DownloadOptions, download_module  # noqa: PLC0415

    try:
        file.absolute().parent.mkdir(parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(dir=file.absolute().parent, prefix=f".{file.name}-")
        os.close(descriptor)
    except OSError as error:
        raise AgentError(f"{file} cannot be written: {error.strerror}") from error
    try:
        download_module(url, Path(draft), options=DownloadOptions(ca=ca))
        Path(draft).chmod(0o644)
        Path(draft).replace(file)
    finally:
        Path(draft).unlink(missing_ok=True)


def _keep_pipe(file: Path, folder: Path) -> Path:
    """Return a file that can be read more than once: a copy of what comes out of a pipe. Raises OSError."""
    if file.is_file() or not file.exists():
        return file
    copy = folder / file.name
    with file.open("rb") as pipe, copy.open("wb") as target:
        shutil.copyfileobj(pipe, target)
    return copy


def _try_code(function: Function) -> None:
    """Raise FunctionError for code that cannot run, as far as one can see."""
    with tempfile.TemporaryDirectory() as folder:
        function.read(Path(folder))


@contextlib.contextmanager
def _one_line_failures() -> Iterator[None]:
    """Turn what goes wrong on this machine into one line and the exit code 1."""
    try:
        yield
    except AgentError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(describe_os_error(error)) from error
