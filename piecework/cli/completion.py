"""`piecework completion`."""

import rich_click as click
from click.shell_completion import get_completion_class


@click.command
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that makes the SHELL complete this command.

    For bash: add  eval "$(piecework completion bash)"  to ~/.bashrc; zsh likewise in ~/.zshrc.
    For fish: piecework completion fish > ~/.config/fish/completions/piecework.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None, "click knows the three shells"
    root = context.find_root().command
    click.echo(kind(root, {}, "piecework", "_PIECEWORK_COMPLETE").source())
