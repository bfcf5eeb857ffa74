"""One module for each queue. Workers import theirs, too: it makes the queue's app from the run's environment."""
