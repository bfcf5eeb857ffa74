"""The control server: it keeps workers, lambdas, jobs and blobs, and gives jobs to the workers that ask."""
