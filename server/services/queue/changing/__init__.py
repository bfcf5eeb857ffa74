"""What is done to jobs that are there: many at once, again, paused, removed."""
