"""Messages about what jobs and functions share."""
