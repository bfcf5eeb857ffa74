"""Running guests in processes of their own. The processes import this too, so nothing is imported here."""
