"""Jobs: submitting, contracting, reporting."""
