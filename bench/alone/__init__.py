"""Each engine alone, with its own tracking of results on: what `bench.engines` compares Faena with.

Every module has ``fill(url, jobs)``, ``done(url, jobs)`` (how many results there are) and ``WORKERS``: the commands of
two worker processes, as the engine's own documentation starts them. ``{url}`` is the Redis.
"""
