"""The `piecework` command."""
