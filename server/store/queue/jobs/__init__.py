"""Job rows, and those that belong to one job alone."""
