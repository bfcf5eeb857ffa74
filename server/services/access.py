"""Who may do what (placeholder replaced below)."""
