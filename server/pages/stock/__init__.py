"""Pages of what jobs and functions share."""
