"""Jobs: ``/job``."""
