"""Dramatiq on Redis: `DramatiqEngine` is the door. See ``docs/guides/dramatiq.md``."""

from faena.engines.dramatiq.engine import DramatiqEngine

__all__ = ["DramatiqEngine"]
