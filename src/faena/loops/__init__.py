"""What every worker process does besides running jobs: promote, admit, rescue, redeliver, cron, prune.

Any number of processes may do it.
"""
