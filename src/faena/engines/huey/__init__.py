"""Huey on a file: the engine that needs nothing installed beside it.

`HueyEngine` is the door. Its messages live in a SQLite file of their own; losing that file loses no job, since
the store is the truth. See ``docs/guides/huey.md``.
"""

from faena.engines.huey.engine import HueyEngine

__all__ = ["HueyEngine"]
