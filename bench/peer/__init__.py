"""Other projects' queues, each with its own tracking of results on: what `bench.peers` compares `direct` with.

Every module runs in the environment that `bench.peers` makes (``bench/peers.txt``), never in Faena's. It has
``fill(jobs)``, ``done(jobs)`` (how many jobs have ended) and ``WORKERS``: the commands that start two worker processes,
as arguments to Python; ``PREPARE``, where there is one, is run before. ``BENCH_URL`` in the environment is the server.
"""
