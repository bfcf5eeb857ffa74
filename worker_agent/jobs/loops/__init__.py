"""The loops, each for a thread of its own: contracts, heartbeats, reports, and a watch over them."""
