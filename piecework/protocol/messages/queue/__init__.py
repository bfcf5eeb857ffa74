"""Messages about jobs."""
