"""Functions: revisions, replicas on hosts, routes to them."""
