"""`python -m bench [NAME …] [--quick] [--save]`: measure, print the figures as JSON, one object a measurement."""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import time

from bench.results import save

NAMES = (
    *("footprint", "latency", "throughput", "kills", "uploads", "media", "engines", "peers", "redis_store"),
    *("limits", "rate_kills"),
)


def rounded(value: object) -> object:
    """Three significant places are more than a shared machine is good for."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return value


def main() -> None:
    """Run what was asked for, or everything."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="smaller samples: a look, not a measurement")
    parser.add_argument("--save", action="store_true", help="publish the figures, in bench/results/NAME.json")
    chosen = parser.parse_args()
    if chosen.save and chosen.quick:
        parser.error("a look is not published: leave --quick or --save out")
    if unknown := sorted(set(chosen.names) - set(NAMES)):
        parser.error(f"no measurement is named {', '.join(unknown)}; there are {', '.join(NAMES)}")
    print(
        json.dumps(
            {"python": platform.python_version(), "machine": platform.machine(), "quick": chosen.quick}
        )
    )
    for name in chosen.names or NAMES:
        started = time.monotonic()
        figures = rounded(importlib.import_module(f"bench.{name}").main(quick=chosen.quick))
        took = round(time.monotonic() - started, 1)
        print(json.dumps({name: figures, "seconds": took}, indent=2), flush=True)
        if chosen.save:
            print(json.dumps({"saved": str(save(name, figures))}), flush=True)


if __name__ == "__main__":
    main()
