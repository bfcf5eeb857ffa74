"""Passing calls of functions on: to a URL that serves the revision, or as a job to an agent."""
