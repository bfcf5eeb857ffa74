"""What jobs and functions both use: blobs, lambdas, modules, workers; and tokens."""
