"""Jobs, their leases, lanes, events and logs."""
