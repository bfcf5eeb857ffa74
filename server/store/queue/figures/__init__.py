"""What happened to jobs, in numbers and in order."""
