"""The commands below `piecework job`."""
