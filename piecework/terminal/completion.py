"""Scripts that have a shell complete a command's words."""

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


def write_completion(command: click.Command, program: str, shell: str) -> str:
    """Return the script of a program for one of SHELLS."""
    kind = get_completion_class(shell)
    assert kind is not None, "click knows the three shells"
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    return kind(command, {}, program, variable).source()
