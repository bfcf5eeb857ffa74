"""Functions over HTTP: serving one, and keeping replicas of many on this node."""
