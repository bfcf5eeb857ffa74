"""One thin file per resource: request to message, one call of a service, record to message."""
