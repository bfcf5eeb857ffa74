"""Giving jobs to workers, and taking what they report."""
