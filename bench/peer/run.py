"""`python -m bench.peer.run MODULE fill|watch JOBS`: print the jobs per second that were enqueued, or that ended."""

from __future__ import annotations

import sys
import time
from importlib import import_module

from bench.watching import rate


def main(name: str, what: str, jobs: int) -> None:
    """Run one of the two."""
    peer = import_module(f"bench.peer.{name}")
    if what == "fill":
        started = time.perf_counter()
        peer.fill(jobs)
        print(jobs / (time.perf_counter() - started))
    else:
        print(rate(lambda: int(peer.done(jobs)), jobs, every=0.02))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
