"""Commands about what jobs and functions use: blobs, lambdas, modules, workers."""
