"""Rows of schedules and their ticks."""
