"""What ``piecework demo`` shows, and what ``make run`` starts."""
