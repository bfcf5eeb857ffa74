"""Jobs that recur, and the thread that minds the time."""
