"""Messages about functions."""
