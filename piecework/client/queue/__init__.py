"""The client's calls about jobs."""
