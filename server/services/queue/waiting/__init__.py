"""Requests that wait: contracts for a job, readers for a state."""
