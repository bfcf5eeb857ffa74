"""Options for what a guest's files and calls may take."""

import click

FILE_OPTIONS = (
    click.option(
        "--max-files-size",
        type=click.IntRange(min=1),
        metavar="MB",
        help="Most that its files take where it may write.  [64]",
    ),
    click.option("--max-files", type=click.IntRange(min=1), metavar="N", help="Most files there.  [1000]"),
    click.option("--max-open", type=click.IntRange(min=4), metavar="N", help="Most files open at once.  [1024]"),
    click.option("--stack", type=click.IntRange(1, 32), metavar="MB", help="Stack of its calls.  [1]"),
)
"""Limits that a lambda, a job and a function on this machine have alike."""
