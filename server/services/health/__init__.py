"""Whether the server is well, and what to do."""
