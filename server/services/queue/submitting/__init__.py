"""The way in for new jobs."""
