"""Replicas on this node: started, watched, announced, stopped."""
