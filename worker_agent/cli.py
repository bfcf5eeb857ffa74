"""The ``worker-agent`` command; ``piecework worker run`` is the same."""

import os
from pathlib import Path
from typing import Any, NoReturn

import click

from piecework import __version__
from piecework.extras import require
from piecework.memory import settle
from piecework.terminal.completion import SHELLS, write_completion
from piecework.terminal.texts import escape_text
from piecework.text.durations import DURATION, DURATION_OR_ZERO
from piecework.variables import find_unknown
from piecework.worker_agent.config.setting_texts import MIB
from piecework.worker_agent.config.settings import LOG_FORMATS, LOG_LEVELS, Settings, SettingsError
from piecework.worker_agent.endings import CommandGroup
from piecework.worker_agent.errors import AgentError
from piecework.worker_agent.replaying.command import replay_run
from piecework.worker_agent.replaying.gate_command import gate_runs
from piecework.worker_agent.runtime_commands import INTERPRETERS, offer, runtimes
from piecework.worker_agent.runtimes import ENGINES, RUNTIME_NAMES
from piecework.worker_agent.runtimes.services.access import NodeRules
from piecework.worker_agent.serving.commands import exec_function, serve

for library in ("structlog", "wasmtime"):
    require(library)  # what runs imports them, too late to say so in one line


@click.group(name="worker-agent", cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="worker-agent")
def worker_commands() -> None:
    """Run jobs of a Piecework server on this node, or functions without one."""


worker_commands.add_command(runtimes)
worker_commands.add_command(exec_function)
worker_commands.add_command(serve)
worker_commands.add_command(replay_run)
worker_commands.add_command(gate_runs)


@worker_commands.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print a script for a shell's completion.

    \b
    bash: add  eval "$(worker-agent completion bash)"  to ~/.bashrc
    zsh:  add  eval "$(worker-agent completion zsh)"   to ~/.zshrc
    fish: worker-agent completion fish > ~/.config/fish/completions/worker-agent.fish
    """  # noqa: D301  # click wants the character itself
    click.echo(write_completion(worker_commands, "worker-agent", shell))


@worker_commands.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--server",
    metavar="URL",
    help="The control server, or several with commas between.  [env PIECEWORK_URL; http://127.0.0.1:8000]",
)
@click.option("--token", metavar="T", help="Access token of scope `worker`.  [env PIECEWORK_TOKEN]")
@click.option(
    "--ca",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Trust these certificates, instead of the system's.  [env PIECEWORK_CA]",
)
@click.option(
    "--profile",
    metavar="NAME",
    help="Use the server of this profile in a configuration file.  [env PIECEWORK_PROFILE]",
)
@click.option(
    "--state",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Worker id and caches of this agent; each agent has its own.  [one per server, in your home]",
)
@click.option("--slots", metavar="N", type=int, help="Jobs that run at once.  [one per CPU]")
@click.option(
    "--runtime",
    "runtimes",
    metavar="NAME",
    multiple=True,
    shell_complete=offer([*RUNTIME_NAMES, *INTERPRETERS]),
    help="Offer only this one; can be repeated.  [all that `worker-agent runtimes` lists as ready]",
)
@click.option(
    "--interpreters",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Interpreters of scripts that are this node's own.  [in the state directory]",
)
@click.option("--tag", "tags", metavar="T", multiple=True, help="What jobs can ask for; can be repeated.")
@click.option("--name", metavar="NAME", help="Shown to people.  [the host's name]")
@click.option("--cache-size", "cache_mb", metavar="MB", type=int, help="Disk for code and inputs.  [2048]")
@click.option(
    "--drain-timeout",
    "drain_timeout_s",
    metavar="DURATION",
    type=DURATION_OR_ZERO,
    help="How long running jobs may go on after the first signal.  [30]",
)
@click.option(
    "--compile-timeout",
    "compile_timeout_s",
    metavar="DURATION",
    type=DURATION,
    help="How long compiling a job's code may take.  [120]",
)
@click.option(
    "--compile-memory",
    "compile_memory_mb",
    metavar="MB",
    type=int,
    help="How much memory that may take.  [2048]",
)
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    help="What runs jobs' code: another than the usual one is for checks, and is told by a tag engine:NAME.  "
    "[cranelift]",
)
@click.option("--prefetch", metavar="N", type=int, help="Most jobs held ahead per slot.  [400]")
@click.option("--log-format", type=click.Choice(LOG_FORMATS), help="[console]")
@click.option("--log-level", type=click.Choice(LOG_LEVELS), help="[info]")
@click.option(
    "--allow-http",
    metavar="HOST",
    multiple=True,
    help="Let guests send HTTP requests there: HOST, HOST:PORT or *; can be repeated.  [nowhere]",
)
@click.option("--allow-redis", metavar="ADDR", help="Let guests use this Redis; password from REDIS_PWD.  [none]")
@click.option(
    "--allow-couchbase",
    metavar="ADDR",
    help="Let guests query this Couchbase; COUCHBASE_USER and COUCHBASE_PWD say as whom.  [none]",
)
@click.option("--allow-files", metavar="DIR", help="Give each lambda that asks a private folder in DIR.  [none]")
@click.option(
    "--allow-dir",
    metavar="DIR",
    multiple=True,
    help="Let guests use a directory, DIR[=GUEST_PATH][:ro|rw]; can be repeated.  [none]",
)
@click.option("--allow-env", metavar="NAME", multiple=True, help="Let guests have this variable; can be repeated.")
@click.option(
    "--functions", metavar="N", type=int, help="Replicas of functions that the server may run here.  [0]"
)
@click.option("--otel-endpoint", metavar="URL", help="Send traces there, by OTLP over HTTP.  [none]")
@click.option("--metrics-port", metavar="PORT", type=int, help="Tell figures for Prometheus on this port.  [none]")
@click.option("--metrics-host", metavar="HOST", help="Address on which figures are told.  [127.0.0.1]")
@click.option("--functions-host", metavar="HOST", help="Address of this node for calls of functions.  [127.0.0.1]")
@click.option(
    "--functions-port",
    metavar="PORT",
    type=int,
    help="Port of this node's own API for deployments, as Capsule's workers had it on 9999.  [none]",
)
@click.option(
    "--functions-first-port", metavar="PORT", type=int, help="Replicas listen on ports from here upwards.  [10001]"
)
@click.option("--functions-token", metavar="T", help="What callers of this node's own API must show.  [none]")
@click.option(
    "--functions-open/--no-functions-open",
    default=None,
    help="Let everybody who reaches --functions-host call what is deployed by this node's own API.  [no]",
)
@click.option(
    "--functions-start-timeout",
    "functions_start_timeout_s",
    metavar="DURATION",
    type=DURATION,
    help="How long a function may take until it is ready.  [60]",
)
@click.option(
    "--reverse-proxy", metavar="URL", help="Register there what is deployed by this node's own API.  [nowhere]"
)
@click.option(
    "--reverse-proxy-token", metavar="T", help="Access token for it.  [that of --token if it is the server]"
)
@click.option("--registry", metavar="URL", help="Where modules named org/module/tag come from.  [nowhere]")
@click.option(
    "--exit-when-idle",
    "exit_when_idle_s",
    metavar="DURATION",
    type=DURATION,
    help="End, with code 0, once there was no job for so long; for batch nodes.  [never]",
)
@click.option("--wait/--no-wait", default=None, help="Wait for a server that does not answer yet.  [wait]")
def run(cache_mb: int | None, compile_memory_mb: int | None, profile: str | None, **options: Any) -> None:
    """Run an agent until it is stopped.

    The first SIGTERM or SIGINT (Ctrl-C) drains: nothing new is taken, running jobs may finish, the rest is handed
    back. The second ends the agent at once. Exit code 0 after draining, 1 when the agent cannot work, 2 for wrong
    options, 70 when its loop was dead and a supervisor should start it again.
    """
    given = {name: value for name, value in options.items() if value not in (None, ())}
    if cache_mb is not None:
        given["cache_bytes"] = cache_mb * MIB
    if compile_memory_mb is not None:
        given["compile_memory_bytes"] = compile_memory_mb * MIB
    # Other commands need no agent.
    import structlog  # noqa: PLC0415

    from piecework.protocol.bodies import prepare_structs  # noqa: PLC0415
    from piecework.worker_agent.assembly import assemble, listen_to_signals, telling_figures  # noqa: PLC0415
    from piecework.worker_agent.link.state import StateDirectory  # noqa: PLC0415
    from piecework.worker_agent.logs import configure_logs  # noqa: PLC0415

    settings = read_settings(given, profile)
    rules = read_rules(settings)
    configure_logs(settings.log_format, settings.log_level)
    for line in find_unknown(os.environ):
        structlog.get_logger().warning(line)
    try:
        with StateDirectory(settings.state_path) as state:
            agent = assemble(settings, state, rules)
            listen_to_signals(agent)
            prepare_structs()
            with telling_figures(settings, agent):
                settle()
                agent.run()
    except AgentError as error:
        raise click.ClickException(str(error)) from error


def read_settings(given: dict[str, Any], profile: str | None = None) -> Settings:
    """Put together defaults, files, the environment and the options given.

    Raises click.UsageError with all problems, and ConfigError for files that cannot be used.
    """
    # Other commands start sooner without.
    from piecework.configuration.layers import configure  # noqa: PLC0415
    from piecework.worker_agent.config.configuration import SECTION  # noqa: PLC0415

    configured = configure(SECTION, url=given.get("server"), profile=profile)
    for line in configured.warnings:
        click.echo(f"worker-agent: {escape_text(line)}", err=True)
    try:
        return Settings(**(Settings.from_env(configured.environ) | given)).with_address()
    except SettingsError as error:
        problems = configured.name_places(error.args, SECTION)
        raise click.UsageError("\n  ".join(["these settings cannot be used:", *problems])) from error


def read_rules(settings: Settings) -> NodeRules:
    """Return what guests may reach on this node. Raises click.UsageError with all problems."""
    try:
        return settings.make_rules(os.environ)
    except SettingsError as error:
        raise click.UsageError("\n  ".join(["these options cannot be used:", *error.args])) from error


def main() -> NoReturn:
    """Run the ``worker-agent`` command."""
    worker_commands(prog_name="worker-agent")
    raise SystemExit(0)
