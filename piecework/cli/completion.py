"""`piecework completion`."""

import rich_click as click
from click.shell_completion import get_completion_class


@click.command
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script for a shell's completion.

    \b
    bash: add  eval "$(piecework completion bash)"  to ~/.bashrc
    zsh:  add  eval "$(piecework completion zsh)"   to ~/.zshrc
    fish: piecework completion fish > ~/.config/fish/completions/piecework.fish
    """  # noqa: D301  # click wants the character itself
    kind = get_completion_class(shell)
    assert kind is not None, "click knows the three shells"
    root = context.find_root().command
    click.echo(kind(root, {}, "piecework", "_PIECEWORK_COMPLETE").source())
