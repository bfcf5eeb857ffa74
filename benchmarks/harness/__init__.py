"""What every benchmark uses: the work, the services of the queues, how a run is made, how figures are shown."""
