"""The schema of a database, and bringing it from one version to another."""
