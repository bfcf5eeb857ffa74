"""What is done with a job: fetch what it needs, run it, finish it, or stop it before its end."""
