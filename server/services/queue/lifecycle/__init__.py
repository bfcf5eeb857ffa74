"""What a job goes through: its ends, its next try, its place in the queue."""
