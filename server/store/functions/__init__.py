"""Functions, their revisions and replicas."""
