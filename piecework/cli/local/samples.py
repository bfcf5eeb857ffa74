"""`piecework samples`: the sample guests that come with the package."""

from pathlib import Path

import msgspec
import rich_click as click

from piecework.cli.screen.display import Display, write_text
from piecework.sample_guests import UnknownSample, copy_samples, find_samples, get_samples


@click.group(invoke_without_command=True)
@click.pass_context
def samples(ctx: click.Context) -> None:
    """Show and copy the sample guests that come with this package."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_)


class SampleRow(msgspec.Struct):
    """A sample as `piecework samples list --json` tells it."""

    name: str
    bytes: int
    meaning: str


@samples.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(*, as_json: bool = False) -> None:
    """List the samples with what they do; `piecework samples` alone does so, too."""
    rows = [SampleRow(each.name, each.code.stat().st_size, each.meaning) for each in find_samples()]
    display = Display(as_json=as_json)
    if as_json:
        display.document(rows)
        return
    display.table(["name", "bytes", "what it does"], [(each.name, each.bytes, each.meaning) for each in rows])


@samples.command
@click.argument("names", nargs=-1, metavar="NAME...")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--all", "every", is_flag=True, help="Copy all of them.")
@click.option("--force", is_flag=True, help="Replace files that are there with other content.")
def copy(names: tuple[str, ...], folder: Path, *, every: bool, force: bool) -> None:
    """Copy samples to the folder DIR, code and source, and print the files.

    DIR is made when it is missing. In it they have the places that they have in `samples` of the project. Nothing
    is written when a name is unknown or a file is there with other content.
    """
    if bool(names) == every:
        raise click.UsageError("name the samples and then the folder, or only the folder with --all.")
    try:
        chosen = find_samples() if every else get_samples(names)
    except UnknownSample as error:
        raise click.UsageError(f"{error}.") from error
    try:
        written = copy_samples(chosen, folder, replace=force)
    except FileExistsError as error:
        raise click.ClickException(f"{error.filename} {error.strerror}: --force replaces it") from error
    write_text("".join(f"{path}\n" for path in written))
