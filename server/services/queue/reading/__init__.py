"""What people see of jobs, groups and the feed."""
