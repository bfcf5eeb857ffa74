"""`piecework completion`."""

import rich_click as click

from piecework.terminal.completion import SHELLS, write_completion


@click.command
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script for a shell's completion.

    \b
    bash: add  eval "$(piecework completion bash)"  to ~/.bashrc
    zsh:  add  eval "$(piecework completion zsh)"   to ~/.zshrc
    fish: piecework completion fish > ~/.config/fish/completions/piecework.fish
    """  # noqa: D301  # click wants the character itself
    click.echo(write_completion(context.find_root().command, "piecework", shell))
