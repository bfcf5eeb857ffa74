"""`piecework new`."""

from pathlib import Path

import rich_click as click

from piecework.cli.screen.display import write_text
from piecework.workshop import ENDINGS, WorkshopError, create, find_build_line


@click.command
@click.argument("language", type=click.Choice(list(ENDINGS)))
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(exists=True, file_okay=False, writable=True, path_type=Path),
    default=".",
    help="Make it in this folder.",
)
@click.option("--http", is_flag=True, help="Make one that answers HTTP requests; in c, js or python.")
def new(language: str, name: str, into: Path, *, http: bool) -> None:
    """Make a new function: its source, build line and test.

    They are in a folder NAME. The source says in its first line how it is built. The test is for pytest, and runs
    the function without a server. One for HTTP is a function of Capsule in C, and else a component of wasi:http.
    """
    try:
        files = create(language, name, into, http=http)
        line = find_build_line(files[0])
    except WorkshopError as error:
        raise click.UsageError(f"{error}.") from error
    write_text("".join(f"{file}\n" for file in files))
    built = f"built by: {line}" if line else "runs as it is"
    write_text(f"{built}\nnext: piecework dev {'' if http else '--text hello '}{files[0]}\n", err=True)
