"""What every worker process does besides running jobs: promote, rescue, redeliver, prune. Any number is safe."""
