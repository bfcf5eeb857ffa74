"""The options that ``worker-agent exec`` and ``worker-agent serve`` have in common, and the function they make.

Whoever runs these is operator and author at once: an option allows something, and grants it too.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
import platformdirs
from msgspec.structs import replace as replace_bounds

from piecework.configuration.places import has_configuration
from piecework.configuration.tokens import add_token_of_file
from piecework.modules import DEFAULT, ModuleError, resolve_runtime
from piecework.oci.options import PLAIN_HTTP_HELP, OrReference
from piecework.protocol.messages import Grants
from piecework.protocol.text import find_fault, find_variable_fault
from piecework.text.durations import DURATION
from piecework.worker_agent.config.setting_texts import MIB
from piecework.worker_agent.config.settings import Settings, SettingsError
from piecework.worker_agent.runtimes.base import COMPILE_BYTES, Bounds
from piecework.worker_agent.runtimes.scripting.interpreters import find_interpreters
from piecework.worker_agent.runtimes.services.access import NodeRules
from piecework.worker_agent.serving.entries import KvServer, read_allowed
from piecework.worker_agent.serving.function import Function

F = TypeVar("F", bound=Callable[..., Any])
LOOPBACK = ("127.0.0.1", "::1")
HELP = {"help_option_names": ["-h", "--help"]}
_OPTIONS = (
    click.argument("file", metavar="FILE", type=OrReference(click.Path(dir_okay=False, path_type=Path))),
    click.argument("args", metavar="[ARG]...", nargs=-1),
    click.option("--url", metavar="URL", help="Download the module to FILE first."),
    click.option(
        "--ca",
        metavar="CAFILE",
        type=click.Path(exists=True, path_type=Path),
        help="Trust these certificates at --url or an OCI registry, not the system's.  [env PIECEWORK_CA]",
    ),
    click.option("--plain-http", is_flag=True, help=PLAIN_HTTP_HELP),
    click.option("--runtime", default=DEFAULT, metavar="NAME", help="What runs it.  [what the code is for]"),
    click.option("--env", metavar="K=V", multiple=True, help="A variable of the function; can be repeated."),
    click.option(
        "--env-file",
        metavar="FILE|-",
        type=click.File("rb"),
        help="Variables as a JSON object of texts; - is standard input. For secrets.",
    ),
    click.option(
        "--timeout",
        type=DURATION,
        metavar="DURATION",
        help="Longest time of a call.  [exec: any; serve: 60]",
    ),
    click.option(
        "--memory", type=click.IntRange(min=1), default=256, metavar="MB", help="Most memory of a call.  [256]"
    ),
    click.option("--fuel", type=click.IntRange(min=1), metavar="N", help="Most units of fuel for a call.  [any]"),
    click.option(
        "--max-files-size",
        type=click.IntRange(min=1),
        metavar="MB",
        help="Most that its files take where it may write.  [exec 1024, serve 64]",
    ),
    click.option(
        "--max-files", type=click.IntRange(min=1), metavar="N", help="Most files there.  [exec 100000, serve 1000]"
    ),
    click.option(
        "--max-open",
        type=click.IntRange(min=4),
        default=1024,
        metavar="N",
        help="Most files open at once.  [1024]",
    ),
    click.option(
        "--compile-memory",
        type=click.IntRange(64, 2**30),
        default=COMPILE_BYTES // MIB,
        metavar="MB",
        help="Most memory for compiling it.  [2048]",
    ),
    click.option("--stack", type=click.IntRange(1, 32), default=1, metavar="MB", help="Stack of its calls.  [1]"),
    click.option(
        "--allow-http", metavar="HOST", multiple=True, help="Let it send HTTP requests to HOST, HOST:PORT or *."
    ),
    click.option("--allow-redis", metavar="ADDR", help="Let it use this Redis; password from REDIS_PWD."),
    click.option("--allow-couchbase", metavar="ADDR", help="Let it query this Couchbase."),
    click.option("--allow-files", metavar="DIR", help="Let it read and write files in DIR."),
    click.option("--allow-dir", metavar="DIR", multiple=True, help="Let it use DIR[=GUEST_PATH][:ro|rw]."),
    click.option("--allow-env", metavar="NAME", multiple=True, help="Give it this variable of yours."),
    click.option(
        "--allow-kv",
        metavar="NAME",
        multiple=True,
        help="Let it use keys and values: NAME[:rw], kept here while this runs; or [NAME=]NAMESPACE[:rw] of the "
        "server at PIECEWORK_URL.",
    ),
    click.option(
        "--state",
        metavar="DIR",
        type=click.Path(file_okay=False, path_type=Path),
        help="Where compiled code and interpreters are kept, as for `run`.",
    ),
)


def function_options(command: F) -> F:
    """Give a command the arguments and options that describe a function."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


class NodeContext:
    """Where a node keeps what functions need, and what they may reach."""

    def __init__(self, options: dict[str, Any], *, supervised: bool = False) -> None:
        """Take the options of a command. Raises click.UsageError with all problems.

        ``supervised`` by an agent, a function has as little as there: a private folder, and no addresses that are
        not public unless they are listed. Else the user means what is written: this folder, this machine.
        """
        _check_words(options)
        given = {name: options[name] for name in _SETTINGS if options[name] not in (None, ())}
        try:
            settings = Settings(
                **(Settings.from_env(find_environ(supervised=supervised)) | {"runtimes": None} | given)
            )
            rules = settings.make_rules(os.environ)
        except SettingsError as error:
            raise click.UsageError("\n  ".join(["these options cannot be used:", *error.args])) from error
        rules = rules if supervised else _take_literally(rules)
        self.kv, is_remote = _read_allowed_kv(options["allow_kv"])
        self.kv_server = KvServer(settings.server, settings.token, settings.ca)
        self.uses_server = is_remote
        self.rules = replace(rules, grants_all=options.get("grants") is None)
        state = settings.state or platformdirs.user_state_path("piecework") / "functions"
        self.compiled = state / "compiled"
        self.compile_bytes = options["compile_memory"] * MIB
        self.interpreters = settings.interpreters_path


def find_environ(*, supervised: bool) -> Mapping[str, str]:
    """Return the environment with what files say of server and folders.

    What an agent may let guests reach is no leave for functions of everybody who has its file: the file does not
    say it here. One that is ``supervised`` by an agent has all from there.
    """
    if supervised or not has_configuration(os.environ):
        try:
            return add_token_of_file(os.environ)[0]
        except ValueError as error:
            raise click.UsageError(str(error)) from error
    # Most have no file: theirs starts sooner.
    from piecework.configuration.layers import configure  # noqa: PLC0415
    from piecework.worker_agent.config.configuration import SECTION  # noqa: PLC0415

    configured = configure(SECTION)
    allowed = {name for name in configured.values if name.startswith("PIECEWORK_WORKER_ALLOW_")}
    return {name: text for name, text in configured.environ.items() if name not in allowed}


def _read_allowed_kv(texts: tuple[str, ...]) -> tuple[list[str], bool]:
    try:
        return read_allowed(texts)
    except ValueError as error:
        raise click.UsageError(f"--allow-kv: {error}") from error


def _is_served(options: dict[str, Any]) -> bool:
    """Tell a function that is served from a command of ours that runs once: that one has no port."""
    return "port" in options


def _check_words(options: dict[str, Any]) -> None:
    """Raise click.UsageError for a word that no guest process can be given. Names of files may be anything.

    What a command of ours gives its guest is bytes; a served function gets texts.
    """
    for name, value in options.items():
        if name in {"args", "env"} and not _is_served(options):
            continue
        option = name if name == "args" else f"--{name.replace('_', '-')}"
        if fault := find_fault({option: value}):
            raise click.UsageError(fault)


def _take_literally(rules: NodeRules) -> NodeRules:
    local = any(host.partition(":")[0] == "localhost" for host in rules.http)
    return replace(rules, shares_folder=True, http=(*rules.http, *(LOOPBACK if local else ())))


_SETTINGS = (
    "state", "allow_http", "allow_redis", "allow_couchbase", "allow_files", "allow_dir", "allow_env"
)  # fmt: skip


def describe_function(
    options: dict[str, Any], node: NodeContext, *, mode: str, usual: Bounds, seed: bytes | None = None
) -> Function:
    """Return the function that the options describe, with ``usual`` bounds where they are silent.

    Raises click.UsageError.
    """
    grants = _read_grants(options)
    is_remote = node.uses_server if grants is None else bool(grants.kv)
    files_mb, files_count = options["max_files_size"], options["max_files"]
    return Function(
        file=options["file"],
        runtime=_resolve_runtime(options["runtime"], node),
        mode=mode,
        args=options["args"],
        env=_read_env(options),
        bounds=replace_bounds(
            usual,
            timeout_s=options["timeout"] or usual.timeout_s,
            memory_bytes=options["memory"] * MIB,
            fuel=options["fuel"],
            files_bytes=usual.files_bytes if files_mb is None else files_mb * MIB,
            files_count=usual.files_count if files_count is None else files_count,
            open_files=options["max_open"],
            stack_bytes=options["stack"] * MIB,
        ),
        grants=grants or _grant_all(options, node.rules, node.kv),
        kv_server=node.kv_server if is_remote else None,
        rules=node.rules,
        seed=seed,
    )  # fmt: skip


def _resolve_runtime(wanted: str, node: NodeContext) -> str:
    """Return the name of a runtime for what somebody calls it. Raises click.UsageError when this node has none."""
    try:
        return resolve_runtime(
            wanted, lambda: [n for each in find_interpreters(node.interpreters) for n in each.names]
        )
    except ModuleError as error:
        raise click.UsageError(str(error)) from error


def _read_grants(options: dict[str, Any]) -> Grants | None:
    """Return the grants that the author of a function asked for; None: all that the operator allows."""
    if options.get("grants") is None:
        return None
    try:
        return msgspec.json.decode(options["grants"], type=Grants)
    except msgspec.DecodeError as error:
        raise click.UsageError(f"--grants are no grants of a lambda as JSON: {error}") from error


def _grant_all(options: dict[str, Any], rules: NodeRules, kv: list[str]) -> Grants:
    couchbase = [f"{rules.couchbase.host}:{rules.couchbase.port}"] if rules.couchbase else []
    return Grants(
        http=[*options["allow_http"], *couchbase],
        redis=rules.redis is not None,
        files=None if rules.folder is None else "write",
        dirs=[f"{each.guest_path}:rw" if each.write else each.guest_path for each in rules.dirs],
        env=list(rules.env),
        kv=kv,
    )


def _read_env(options: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    if options["env_file"] is not None:
        try:
            found = msgspec.json.decode(options["env_file"].read() or b"{}", type=dict[str, str])
        except msgspec.DecodeError as error:
            raise click.UsageError(f"--env-file is no JSON object of texts: {error}") from error
    for text in options["env"]:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError(f"--env {text!r} is not NAME=VALUE")
        found[name] = value
    # A command is given the bytes as they are.
    shown = found if _is_served(options) else {_show(name): _show(value) for name, value in found.items()}
    if fault := find_variable_fault(shown):
        raise click.UsageError(f"the environment cannot be: {fault}")
    return found


def _show(text: str) -> str:
    return os.fsencode(text).decode(errors="replace")
