"""The `piecework` command: its commands by name."""

import rich_click as click

from piecework import __version__
from piecework.cli.groups import LazyCommand, RootGroup
from piecework.cli.options.connection import connection_options

COMMANDS = {
    "run": ("piecework.cli.run:run", "Run a wasm file, or a script, as one job and print its output."),
    "job": (
        "piecework.cli.queue.jobs.jobs:job",
        "Submit jobs, look at them, wait for them, cancel them, run them again.",
    ),
    "schedule": (
        "piecework.cli.queue.schedules:schedule",
        "Submit jobs again and again, by cron lines or in intervals.",
    ),
    "group": (
        "piecework.cli.queue.grouping:group",
        "Look at jobs together, wait for them, and run one when all are done.",
    ),
    "pause": (
        "piecework.cli.queue.holds:pause",
        "Keep all jobs of a lambda, runtime, group or tenant from workers.",
    ),
    "resume": ("piecework.cli.queue.holds:resume", "Let the jobs of a lambda, runtime, group or tenant go on."),
    "lambda": ("piecework.cli.stock.lambdas:lambda_", "Create lambdas, look at them, delete them."),
    "module": ("piecework.cli.stock.modules:module", "Push, list, pull and delete modules of the registry."),
    "data": ("piecework.cli.stock.data:data", "Upload, list, download and delete blobs."),
    "kv": ("piecework.cli.stock.namespaces:kv", "Keep keys and values in namespaces."),
    "function": ("piecework.cli.functions.functions:function", "Deploy functions, look at them, call them."),
    "webhook": ("piecework.cli.queue.webhooks:webhook", "Have URLs told when jobs and groups end."),
    "limit": ("piecework.cli.queue.limits:limit", "Limit how many jobs of a key run at once, or start in a time."),
    "tenant": ("piecework.cli.queue.limits:tenant", "Look at tenants, whose jobs take turns, and weigh them."),
    "worker": ("piecework.cli.stock.workers:worker", "Run an agent, look at workers, drain and retire them."),
    "audit": ("piecework.cli.stock.audit:audit", "Show who did what on the server, newest first."),
    "receipt": (
        "piecework.cli.queue.receipts:receipt",
        "Look at receipts of jobs, keep them, and check them without a server.",
    ),
    "bundle": (
        "piecework.cli.queue.receipts:bundle",
        "Put a job's receipt, and all that it names, into one file.",
    ),
    "replay": (
        "piecework.cli.replay:replay",
        "Do a run again, here or on a worker, and say whether it came to the same.",
    ),
    "gate": (
        "piecework.cli.gate:gate",
        "Replay an old lambda's calls against new code, and say what differs.",
    ),
    "new": ("piecework.cli.local.new:new", "Make a new function: its source, build line and test."),
    "dev": ("piecework.cli.local.dev:dev", "Build and run a function whenever it changes."),
    "samples": (
        "piecework.cli.local.samples:samples",
        "Show and copy the sample guests that come with this package.",
    ),
    "demo": (
        "piecework.cli.local.demo:demo",
        "Run a server, two agents and over a hundred real jobs on this machine, and check what comes out.",
    ),
    "server": ("piecework.server.cli:server_commands", "Run and look after a control server."),
    "top": (
        "piecework.cli.top.command:top",
        "Show a server live: what waits for which workers, lambdas, workers and jobs, and how quickly they go.",
    ),
    "scale": ("piecework.cli.scale:scale", "Say how many slots the queue could use, and how many there are."),
    "status": ("piecework.cli.status:status", "Say whether all is well with the server, on one screen."),
    "doctor": (
        "piecework.cli.status:doctor",
        "Look for what is wrong and say what to do.",
    ),
    "config": (
        "piecework.cli.local.config:config",
        "Show settings and where they come from, and make and check files of them.",
    ),
    "ping": ("piecework.cli.ping:ping", "Ask the server whether it is alive."),
    "completion": ("piecework.cli.local.completion:completion", "Print a script for a shell's completion."),
}
"""Commands in the order of the help page; their modules are imported when they are used."""


@click.group(
    cls=RootGroup,
    commands={name: LazyCommand(name, *target) for name, target in COMMANDS.items()},
    context_settings={"help_option_names": ["-h", "--help"]},
)
@connection_options
@click.version_option(__version__, prog_name="piecework")
def main(**_: object) -> None:
    """Run WebAssembly functions as jobs on any number of nodes."""
