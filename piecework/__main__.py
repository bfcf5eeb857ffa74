"""`python -m piecework` is the `piecework` command."""

from piecework.cli.main import main

main(prog_name="piecework")
