"""What people write for durations, shares and jobs."""
