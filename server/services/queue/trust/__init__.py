"""Results that are used again, compared, and signed."""
